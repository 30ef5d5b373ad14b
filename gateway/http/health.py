"""GET /health/live, /health/ready and /metrics."""

from typing import Literal

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import Struct

from gateway.engine.engine import Engine
from gateway.http.answer import Answer
from gateway.http.auth import PUBLIC
from gateway.http.openapi.operation import documented
from gateway.http.services import Services
from gateway.telemetry.metrics import CONTENT_TYPE

_NOT_READY = ((b"retry-after", b"1"), (b"retry-after-ms", b"1000"))


class Liveness(Struct, frozen=True):
    status: Literal["live"] = "live"


class Readiness(Struct, frozen=True):
    """`status`: ready, starting or draining. `models`: each model's state by name."""

    status: str
    models: dict[str, str]


def health_routes(services: Services) -> list[HTTPRouteHandler]:
    engine, metrics = services.engine, services.metrics

    @get("/health/live", opt=PUBLIC | documented(summary="The process lives", tag="server", answer=Liveness))
    async def live() -> ASGIApp:
        return Answer(msgspec.json.encode(Liveness()))

    @get(
        "/health/ready",
        opt=PUBLIC
        | documented(
            summary="Every preloaded model is ready", tag="server", answer=Readiness, others={503: Readiness}
        ),
    )
    async def ready() -> ASGIApp:
        body = msgspec.json.encode(_readiness(engine))
        return Answer(body) if engine.ready else Answer(body, 503, headers=_NOT_READY)

    @get("/metrics", opt=documented(summary="Prometheus metrics", tag="server", media="text/plain"))
    async def render_metrics() -> ASGIApp:
        return Answer(metrics.render(), media=CONTENT_TYPE.encode("ascii"))

    return [live, ready, render_metrics]


def _readiness(engine: Engine) -> Readiness:
    status = "ready" if engine.ready else "draining" if engine.draining else "starting"
    return Readiness(status, {model.spec.name: model.state for model in engine.models()})
