"""The yardstick: a Litestar app that answers chat requests with the fake engine's words and does no more.

What the gateway costs beyond this is its own: checks, scheduling, the worker process and the channel to it.
Runs under uvicorn as the gateway does; model `paced` waits 20 ms before each piece, any other does not wait.
"""

import asyncio
from collections.abc import AsyncIterator

from litestar import Litestar, Response, get, post
from litestar.response import Stream
from msgspec import Struct

from benchmarks.overhead_figures import PACE_S


class Body(Struct):
    model: str
    max_tokens: int
    stream: bool = False


@post("/v1/chat/completions", status_code=200)
async def chat(data: Body) -> Response[object] | Stream:
    if data.stream:
        pace_s = PACE_S if data.model == "paced" else 0.0
        return Stream(_pieces(data.max_tokens, pace_s), media_type="text/event-stream")
    text = "".join(f"w{i} " for i in range(data.max_tokens))
    usage = {"prompt_tokens": 1, "completion_tokens": data.max_tokens, "total_tokens": data.max_tokens + 1}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
    return Response(
        {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "choices": [choice], "usage": usage}
    )


async def _pieces(count: int, pace_s: float) -> AsyncIterator[bytes]:
    head = b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","created":0,"model":"bare","choices":['
    for i in range(count):
        if pace_s:
            await asyncio.sleep(pace_s)
        yield head + b'{"index":0,"delta":{"content":"w%d "},"finish_reason":null}]}\n\n' % i
    yield head + b'],"usage":{"prompt_tokens":1,"completion_tokens":%d}}\n\n' % count
    yield b"data: [DONE]\n\n"


@get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


app = Litestar([chat, health], openapi_config=None)
