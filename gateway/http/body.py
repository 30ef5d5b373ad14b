"""Reads a JSON body: the right media type, within the size cap, within the time.

Owns the bytes of a request until they are decoded. Must not know any API's fields.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from litestar import Request
from litestar.types import Receive

from config.schema import Config
from gateway.engine.errors import BadRequest, BodyTimeout, BodyTooLarge, UnsupportedMedia
from gateway.http.disconnect import ClientGone

T = TypeVar("T")

_THREAD_BYTES = 32 * 1024
"""A larger body is decoded on a thread: it may take longer than the event loop may pause."""


async def read_json(request: Request[Any, Any, Any], config: Config, decode: Callable[[bytes], T]) -> T:
    """The decoded body. Raises GatewayError, and what `decode` raises."""
    cap = config.limits.json_body_bytes
    _check_headers(request.headers, cap)
    body = await _read(request.receive, cap, config.timeouts.send_s)
    return await off_loop(len(body), decode, body)


async def off_loop(size_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
    """`work` here if it is small, else on a thread."""
    if size_bytes <= _THREAD_BYTES:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)


def _check_headers(headers: Any, cap: int) -> None:
    media, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media.strip().lower() != "application/json" or charset not in ("", "charset=utf-8", "charset=utf8"):
        raise UnsupportedMedia("The body must be sent as 'content-type: application/json'.")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("A compressed body is not accepted.")
    length = headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdigit()):
        raise BadRequest("The content-length header is not a number.")
    # A number of that many digits is over any cap, and too long to be worth reading.
    if length is not None and (len(length) > 18 or int(length) > cap):
        raise _too_large(cap)


async def _read(receive: Receive, cap: int, pause_s: float) -> bytes:
    """All of the body. The client may pause for at most `pause_s` between two pieces."""
    parts: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(pause_s):
                message = await receive()
        except TimeoutError:
            raise BodyTimeout("The body did not arrive in time.") from None
        if message["type"] != "http.request":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > cap:
            raise _too_large(cap)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


def _too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {cap} bytes.")
