"""The part of POST /v1/chat/completions that is asked of a model which captions pictures."""

from collections.abc import Sequence
from typing import Any

from litestar import Request
from litestar.types import ASGIApp

from backends.protocol import CaptionResult, Media
from compat.openai.chat import ChatCompletionRequest, chat_form
from compat.openai.chat_answers import render_chat
from compat.openai.chat_captions import CaptionChunks, as_answer, caption_chat_parameters
from compat.openai.chat_chunks import ChatChunks
from compat.openai.sampling import streams_usage
from gateway.http.answer import Answer
from gateway.http.disconnect import until_disconnect
from gateway.http.generation import results_of
from gateway.http.remote_pictures import with_pictures
from gateway.http.services import Services, new_answer
from gateway.http.stream import open_events


async def caption_chat(
    services: Services,
    request: Request[Any, Any, Any],
    body: ChatCompletionRequest,
    pictures: Sequence[Media],
) -> ASGIApp:
    spec = services.model_for(body.model, "caption")
    with until_disconnect(request.receive):
        include_usage = streams_usage(body)
        parameters = caption_chat_parameters(body, pictures, await services.description(spec, "caption"))
        form = chat_form(body)
        answer = new_answer("chatcmpl", spec)
        items = await with_pictures(services, pictures)
        stream = services.submit(request.scope, answer, "caption", parameters, items)
        if body.stream:
            chunks = CaptionChunks(ChatChunks(answer, form, include_usage))
            return await open_events(stream, chunks, services.config.timeouts)
        result = as_answer(await results_of(stream, CaptionResult))
        return Answer(render_chat(answer, [result], form))
