"""GET /v1/models and /v1/models/{id}."""

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from compat.openai.models import ModelCard, render_model, render_models
from gateway.engine.engine import ModelStatus
from gateway.engine.errors import ModelNotFound
from gateway.http.answer import Answer
from gateway.http.services import Services


def model_routes(services: Services) -> list[HTTPRouteHandler]:
    @get("/v1/models")
    async def list_models() -> ASGIApp:
        return Answer(render_models([_card(status) for status in services.engine.models()]))

    @get("/v1/models/{model:path}")
    async def retrieve_model(model: FromPath[str]) -> ASGIApp:
        name = services.engine.resolve(model.removeprefix("/")).name
        for status in services.engine.models():
            if status.spec.name == name:
                return Answer(render_model(_card(status)))
        raise ModelNotFound(f"The model '{name}' is not served any more.", param="model")

    return [list_models, retrieve_model]


def _card(status: ModelStatus) -> ModelCard:
    spec, description = status.spec, status.description
    return ModelCard(
        id=spec.name,
        created=status.created,
        aliases=spec.aliases,
        tasks=list(spec.tasks),
        state=status.state,
        error=status.error,
        note=spec.note or "",
        licence=spec.licence or (description.licence if description else ""),
        context_length=description.context_length if description else 0,
        dimensions=description.dimensions if description else 0,
    )
