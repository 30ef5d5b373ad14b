"""POST /v1/chat/completions."""

import asyncio
from functools import partial
from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from backends.protocol import Chat
from compat.openai.chat import ChatCompletionRequest, chat_form, chat_parameters
from compat.openai.chat_answers import ChatCompletion, render_chat
from compat.openai.chat_captions import read_any_chat
from compat.openai.chat_chunks import ChatChunks
from compat.openai.message_media import check_media, has_media, media_in, read_media, with_media
from compat.openai.sampling import streams_usage
from gateway.http.answer import Answer
from gateway.http.body import read_json
from gateway.http.chat_captions import caption_chat
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import generate, rendered
from gateway.http.openapi.operation import documented
from gateway.http.openapi.shapes import ChatCompletionChunk
from gateway.http.remote_pictures import fetched
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_stream


def chat_route(services: Services) -> HTTPRouteHandler:
    @post(
        "/v1/chat/completions",
        status_code=200,
        opt=documented(
            summary="Answer a conversation",
            tag="generate",
            description="Users' messages may hold pictures (`image_url`, as data URLs) and sound "
            "(`input_audio`) where the model takes them. A model that captions pictures answers with "
            "captions of those in the last user message; it reads no text.",
            request=ChatCompletionRequest,
            example={
                "model": "gpt-4o-mini",
                "messages": [{"role": "user", "content": "Say hello."}],
                "max_tokens": 32,
            },
            answer=ChatCompletion,
            stream=ChatCompletionChunk,
        ),
    )
    async def chat_completions(request: Request[Any, Any, Any]) -> ASGIApp:
        read = partial(read_any_chat, captions=services.captions)
        body, chat = await read_json(request, services.config, read)
        if not isinstance(chat, Chat):
            return await caption_chat(services, request, body, chat)
        spec = services.model_for(body.model, "generate")
        with until_disconnect(request.receive):
            include_usage = streams_usage(body)
            description = await services.engine.description(spec.name)
            parameters = chat_parameters(body, description)
            check_media(chat, body.model, description)
            if has_media(chat):
                chat = await asyncio.to_thread(read_media, chat)
                chat = with_media(chat, await fetched(services, media_in(chat)))
            form = chat_form(body)
            answer = new_answer("chatcmpl", spec)
            stream = services.submit(
                request.scope, answer, "generate", parameters, [chat], stream=bool(body.stream)
            )
            if body.stream:
                chunks = ChatChunks(answer, form, include_usage)
                return await open_stream(stream, chunks, services.config.timeouts)
            return Answer(await rendered(await generate(stream), render_chat, answer, form))

    return chat_completions
