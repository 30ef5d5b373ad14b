"""llama-server's router routes: `/models/load`, `/models/unload`, `/models/sse`, also under /v1.

`GET /models` is in gateway/http/models.py. Loading and unloading need the scope `admin` where there are keys.
"""

from typing import Any

from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from compat.router import RouterDone, RouterEvent, RouterRequest, decode_router, render_done, render_event
from gateway.engine.bulletin import ModelEvent
from gateway.engine.errors import BadRequest
from gateway.http.admin_events import ModelEventStream
from gateway.http.answer import Answer
from gateway.http.auth import ADMIN
from gateway.http.body import read_json
from gateway.http.openapi.operation import documented
from gateway.http.services import Services

_TOLD = frozenset({"state", "loading", "progress", "ready", "unloading", "unloaded", "died", "failed"})
_EXAMPLE = {"model": "whisper-1"}


def router_routes(services: Services) -> list[HTTPRouteHandler]:
    engine, config = services.engine, services.config

    @post(
        ["/models/load", "/v1/models/load"],
        status_code=200,
        opt=ADMIN
        | documented(
            summary="Load a model, as llama-server's router does",
            description="Answers at once.",
            tag="models",
            request=RouterRequest,
            example=_EXAMPLE,
            answer=RouterDone,
        ),
    )
    async def router_load(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, config, decode_router)
        await engine.life.load(engine.resolve(body.model).name, wait=False)
        return Answer(render_done())

    @post(
        ["/models/unload", "/v1/models/unload"],
        status_code=200,
        opt=ADMIN
        | documented(
            summary="Unload a model, as llama-server's router does",
            description="Answers at once; running requests end first.",
            tag="models",
            request=RouterRequest,
            example=_EXAMPLE,
            answer=RouterDone,
        ),
    )
    async def router_unload(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, config, decode_router)
        name = engine.resolve(body.model).name
        if not engine.model(name).workers:
            raise BadRequest(f"The model '{name}' is not running.", param="model", code="model_not_running")
        await engine.life.unload(name, wait=False)
        return Answer(render_done())

    @get(
        ["/models/sse", "/v1/models/sse"],
        opt=documented(
            summary="Models' states as they change, as llama-server's router tells them",
            tag="models",
            media="text/event-stream",
            stream=RouterEvent,
        ),
    )
    async def router_events() -> ASGIApp:
        return ModelEventStream(engine.watch(), _event_data, config.timeouts)

    return [router_load, router_unload, router_events]


def _event_data(event: ModelEvent) -> bytes:
    if event.event not in _TOLD:
        return b""
    return render_event(
        event.model, event.state, first=event.event == "state", stage=event.stage, fraction=event.fraction
    )
