"""Reads bodies within the size cap and within the time, and JSON out of them.

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
    _check_media(request.headers)
    check_uncompressed(request.headers)
    check_length(request.headers, cap)
    body = await _read(request.receive, cap, config.timeouts.send_s)
    return await off_loop(len(body), decode, body)


async def off_loop(size_bytes: int, work: Callable[..., T], *arguments: Any) -> T:
    """`work` here if it is small, else on a thread."""
    if size_bytes <= _THREAD_BYTES:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)


def check_uncompressed(headers: Any) -> None:
    """Raises UnsupportedMedia."""
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMedia("A compressed body is not accepted.")


def check_length(headers: Any, cap: int) -> None:
    """What the client says of the body's length, if anything. Raises BadRequest, BodyTooLarge."""
    length = headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdigit()):
        raise BadRequest("The content-length header is not a number.")
    # A number of that many digits is over any cap, and too long to be worth reading.
    if length is not None and (len(length) > 18 or int(length) > cap):
        raise too_large(cap)


async def next_piece(receive: Receive, pause_s: float) -> tuple[bytes, bool]:
    """The next bytes of the body, and whether more come. The client may let at most `pause_s` pass."""
    try:
        async with asyncio.timeout(pause_s):
            message = await receive()
    except TimeoutError:
        raise BodyTimeout("The body did not arrive in time.") from None
    if message["type"] != "http.request":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


def too_large(cap: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {cap} bytes.")


def _check_media(headers: Any) -> None:
    media, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media.strip().lower() != "application/json" or charset not in ("", "charset=utf-8", "charset=utf8"):
        raise UnsupportedMedia("The body must be sent as 'content-type: application/json'.")


async def _read(receive: Receive, cap: int, pause_s: float) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        part, more = await next_piece(receive, pause_s)
        size += len(part)
        if size > cap:
            raise too_large(cap)
        parts.append(part)
    return b"".join(parts) if len(parts) > 1 else parts[0]
