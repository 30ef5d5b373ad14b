"""POST /v1/embeddings."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from compat.openai.embeddings import (
    EmbeddingRequest,
    decode_embedding,
    embedding_items,
    embedding_parameters,
    render_embeddings,
)
from gateway.http.answer import Answer
from gateway.http.body import off_loop, read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import embed
from gateway.http.openapi.operation import documented
from gateway.http.openapi.shapes import EmbeddingList
from gateway.http.remote_pictures import with_pictures
from gateway.http.services import Services, new_answer


def embedding_route(services: Services) -> HTTPRouteHandler:
    @post(
        "/v1/embeddings",
        status_code=200,
        opt=documented(
            summary="Embed texts, and pictures where the model can",
            tag="embed",
            request=EmbeddingRequest,
            example={"model": "text-embedding-3-small", "input": ["a harbour"]},
            answer=EmbeddingList,
        ),
    )
    async def embeddings(request: Request[Any, Any, Any]) -> ASGIApp:
        config = services.config
        body = await read_json(request, config, decode_embedding)
        spec = services.model_for(body.model, "embed")
        with until_disconnect(request.receive):
            description = await services.engine.description(spec.name)
            size = memoryview(body.input).nbytes
            most = config.limits.items_per_request
            items = await off_loop(size, embedding_items, body, most, description)
            parameters = embedding_parameters(body, description)
            items = await with_pictures(services, items)
            answer = new_answer("embd", spec)
            stream = services.submit(request.scope, answer, "embed", parameters, items)
            results = await embed(stream)
            size = sum(len(result.vector) for result in results)
            return Answer(await off_loop(size, render_embeddings, spec.name, results, body.encoding_format))

    return embeddings
