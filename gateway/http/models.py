"""GET /v1/models, which is light, and /v1/models/{id}, which tells all that is known of one model."""

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from backends.protocol import Description
from compat.openai.models import (
    Capabilities,
    ModelCard,
    ModelCards,
    ModelDetails,
    render_model,
    render_models,
)
from compat.router import router_state
from config.schema import ModelSpec
from gateway.engine.errors import GatewayError
from gateway.engine.status import ModelStatus
from gateway.http.answer import Answer
from gateway.http.openapi.operation import documented
from gateway.http.services import Services


def model_routes(services: Services) -> list[HTTPRouteHandler]:
    @get(["/v1/models", "/models"], opt=documented(summary="What is served", tag="models", answer=ModelCards))
    async def list_models() -> ASGIApp:
        cards = [_card(status, status.description) for status in services.engine.models()]
        return Answer(render_models(cards))

    @get(
        "/v1/models/{model:path}",
        opt=documented(
            summary="What one model can do",
            tag="models",
            answer=ModelDetails,
            path_parameters={"model": "Name or alias; it may hold slashes."},
        ),
    )
    async def retrieve_model(model: FromPath[str]) -> ASGIApp:
        name = services.engine.resolve(model.removeprefix("/")).name
        description, error = await _describe(services, name)
        status = services.engine.model(services.engine.resolve(name).name)
        return Answer(render_model(_details(status, description, error)))

    return [list_models, retrieve_model]


async def _describe(services: Services, name: str) -> tuple[Description | None, str]:
    """What the model can do, looked up now if nobody has yet; or why that is not known."""
    try:
        return await services.engine.description(name), ""
    except GatewayError as error:
        return None, error.message


def _details(status: ModelStatus, description: Description | None, error: str) -> ModelDetails:
    card = _card(status, description)
    if not card.error:
        card = msgspec.structs.replace(card, error=error)
    capabilities = _capabilities(status.spec, description) if description else None
    return ModelDetails(**msgspec.structs.asdict(card), capabilities=capabilities)


def _card(status: ModelStatus, description: Description | None) -> ModelCard:
    spec = status.spec
    return ModelCard(
        id=spec.name,
        created=status.created,
        aliases=spec.aliases,
        tasks=list(spec.tasks),
        status=router_state(status.state),
        state=status.state,
        error=status.error,
        note=spec.note or "",
        licence=spec.licence or (description.licence if description else ""),
        context_length=description.context_length if description else 0,
        dimensions=description.dimensions if description else 0,
    )


def _capabilities(spec: ModelSpec, description: Description) -> Capabilities:
    return Capabilities(
        backend=spec.backend,
        tasks=list(description.tasks),
        parameters=sorted(description.parameters),
        limits=description.limits,
        adapters=description.adapters,
        voices=description.voices,
        voice_aliases=description.voice_aliases,
        languages=description.languages,
        sizes=description.sizes,
        context_length=description.context_length,
        dimensions=description.dimensions,
        vocabulary_size=description.vocabulary_size,
        device_kinds=description.device_kinds,
        memory_bytes=spec.memory_bytes or description.memory_bytes,
        replicas=spec.replicas,
        details=description.details,
    )
