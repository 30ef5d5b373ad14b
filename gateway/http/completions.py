"""POST /v1/completions."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from compat.openai.completion_answers import Completion, CompletionChunks, render_completion
from compat.openai.completions import (
    CompletionRequest,
    completion_form,
    completion_items,
    completion_parameters,
    decode_completion,
)
from compat.openai.sampling import streams_usage
from gateway.http.answer import Answer
from gateway.http.body import off_loop, read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import generate, rendered
from gateway.http.openapi.operation import documented
from gateway.http.openapi.shapes import CompletionChunk
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_stream


def completion_route(services: Services) -> HTTPRouteHandler:
    @post(
        "/v1/completions",
        status_code=200,
        opt=documented(
            summary="Go on with texts",
            tag="generate",
            request=CompletionRequest,
            example={"model": "gpt-4o-mini", "prompt": "Once upon a time", "max_tokens": 16},
            answer=Completion,
            stream=CompletionChunk,
        ),
    )
    async def completions(request: Request[Any, Any, Any]) -> ASGIApp:
        config = services.config
        body = await read_json(request, config, decode_completion)
        spec = services.model_for(body.model, "generate")
        with until_disconnect(request.receive):
            size = memoryview(body.prompt).nbytes
            items = await off_loop(size, completion_items, body, config.limits.items_per_request)
            include_usage = streams_usage(body)
            parameters = completion_parameters(body, await services.engine.description(spec.name))
            form = completion_form(body)
            answer = new_answer("cmpl", spec)
            stream = services.submit(
                request.scope, answer, "generate", parameters, items, stream=bool(body.stream)
            )
            if body.stream:
                chunks = CompletionChunks(answer, len(items), form, include_usage)
                return await open_stream(stream, chunks, config.timeouts)
            return Answer(await rendered(await generate(stream), render_completion, answer, form))

    return completions
