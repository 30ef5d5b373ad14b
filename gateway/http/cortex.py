"""POST /api/v1/llm/chat, the older route; compat.cortex.chat documents its shapes."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from compat.cortex.chat import (
    CortexChat,
    CortexChatRequest,
    CortexChunks,
    cortex_conversation,
    cortex_parameters,
    decode_cortex_chat,
    render_cortex_chat,
)
from gateway.http.answer import Answer
from gateway.http.body import read_json
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import generate
from gateway.http.openapi.operation import documented
from gateway.http.openapi.shapes import CORTEX_EVENT
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_stream


def cortex_chat_route(services: Services) -> HTTPRouteHandler:
    @post(
        "/api/v1/llm/chat",
        status_code=200,
        opt=documented(
            summary="Answer, in short form",
            tag="generate",
            description="One of `messages`, `prompt` and `message`; without a model, the first chat model.",
            request=CortexChatRequest,
            example={"prompt": "Say hello.", "max_tokens": 32},
            answer=CortexChat,
            stream=CORTEX_EVENT,
        ),
    )
    async def cortex_chat(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, services.config, decode_cortex_chat)
        spec = services.model_or_first(body.model, "generate")
        with until_disconnect(request.receive):
            chat = cortex_conversation(body)
            parameters = cortex_parameters(body, await services.engine.description(spec.name))
            answer = new_answer("chat", spec)
            stream = services.submit(
                request.scope, answer, "generate", parameters, [chat], stream=bool(body.stream)
            )
            if body.stream:
                return await open_stream(stream, CortexChunks(answer), services.config.timeouts)
            return Answer(render_cortex_chat(answer, await generate(stream)))

    return cortex_chat
