"""GET /admin/devices: what there is to place models on, and who holds what of it."""

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from compat.cortex.devices import AdminDevice, AdminDevices, AdminShare
from compat.openai.answers import encode
from gateway.engine.memory_view import DeviceStatus
from gateway.http.answer import Answer
from gateway.http.auth import ADMIN
from gateway.http.openapi.operation import documented
from gateway.http.services import Services


def device_routes(services: Services) -> list[HTTPRouteHandler]:
    @get(
        "/admin/devices",
        opt=ADMIN
        | documented(
            summary="The devices, and what models hold of their memory", tag="admin", answer=AdminDevices
        ),
    )
    async def show_devices() -> ASGIApp:
        statuses = services.engine.memory.devices()
        return Answer(encode(AdminDevices([_shown(status) for status in statuses])))

    return [show_devices]


def _shown(status: DeviceStatus) -> AdminDevice:
    state = status.state
    return AdminDevice(
        device=state.name,
        title=state.title,
        total_bytes=state.total_bytes,
        budget_bytes=state.budget_bytes,
        reserved_bytes=status.reserved_bytes,
        used_bytes=status.used_bytes,
        others_bytes=state.others_bytes,
        utilisation=state.utilisation,
        workers=[
            AdminShare(
                worker=held.worker_id,
                model=held.model,
                reserved_bytes=held.reserved_bytes,
                used_bytes=held.used_bytes,
            )
            for held in status.holders
        ],
    )
