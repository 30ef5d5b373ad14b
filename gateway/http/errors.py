"""The only place where an error becomes an HTTP answer or an in-band frame.

Owns the envelope, the status, the retry headers, and what an error that nobody foresaw looks like from
outside: generic, while its traceback goes to the log.
"""

import math
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ExceptionHandlersMap
from msgspec import Struct

from compat.errors import InvalidRequest
from gateway.engine.errors import (
    BadRequest,
    BodyTooLarge,
    Forbidden,
    GatewayError,
    InternalError,
    LimitExceeded,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from gateway.http.answer import Answer
from gateway.http.disconnect import ClientGone
from gateway.telemetry.logging import log_unforeseen

DEFAULT_RETRY_S = 1.0
CLIENT_GONE = 499
"""Status for the log and the metrics: nobody receives it."""
LONGEST_RETRY_S = 120.0
"""Clients ignore a longer retry-after."""

_encoder = msgspec.json.Encoder()
_BY_STATUS: dict[int, type[GatewayError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: BodyTooLarge,
    415: UnsupportedMedia,
}


class ErrorFields(Struct, frozen=True):
    """Always all four."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(Struct, frozen=True):
    error: ErrorFields


def as_gateway_error(error: BaseException) -> GatewayError:
    """What the client is told of `error`. One that nobody foresaw is logged and told as a plain 500."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, InvalidRequest):
        return BadRequest(error.message, param=error.param, code=error.code)
    if isinstance(error, NotFoundException):
        return NotFound("There is no such route.")
    if isinstance(error, MethodNotAllowedException):
        return MethodNotAllowed("This route does not answer to that method.")
    if isinstance(error, HTTPException) and 400 <= error.status_code < 500:
        return _BY_STATUS.get(error.status_code, BadRequest)("The request cannot be accepted.")
    if isinstance(error, RecursionError):
        return BadRequest("The request body is nested too deeply.", code="body_too_complex")
    log_unforeseen(error)
    return InternalError("The server met an unexpected error; its log says more.")


def envelope(error: GatewayError) -> bytes:
    """The error as JSON. A message that came from elsewhere may hold what is no Unicode: it is replaced."""
    message = error.message.encode("utf-8", "replace").decode()
    param = error.param.encode("utf-8", "replace").decode() if error.param else None
    return _encoder.encode(ErrorEnvelope(ErrorFields(message, error.type, param, error.code)))


def error_frame(error: BaseException) -> bytes:
    """In-band: the last frame of a stream that failed after its headers went out."""
    return b"data: " + envelope(as_gateway_error(error)) + b"\n\n"


def retry_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """`retry-after` in whole seconds and `retry-after-ms` for overload; `x-should-retry` where known."""
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, LimitExceeded | Unavailable):
        wait_s = min(max(error.retry_after_s or DEFAULT_RETRY_S, 0.001), LONGEST_RETRY_S)
        headers.append((b"retry-after", b"%d" % math.ceil(wait_s)))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(wait_s * 1000)))
    headers += queue_headers(error.queue_position, error.queue_length)
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b'Bearer realm="llm-cortex"'))
    return headers


def queue_headers(position: int | None, length: int | None) -> list[tuple[bytes, bytes]]:
    """Where a request stands among those that wait for its model, the first at 1, and how many wait."""
    told = ((b"x-queue-position", position), (b"x-queue-length", length))
    return [(name, b"%d" % number) for name, number in told if number is not None]


def error_answer(error: BaseException) -> Answer:
    """The answer for `error`, for use in front of the framework."""
    told = as_gateway_error(error)
    return Answer(envelope(told), told.status, headers=retry_headers(told))


def _handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    if isinstance(error, ClientGone):
        return Response(b"", status_code=CLIENT_GONE, media_type="application/json")
    answer = error_answer(error)
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in answer.headers}
    if isinstance(error, MethodNotAllowedException) and error.headers:
        headers |= {"allow": error.headers["allow"]}
    media_type = headers.pop("content-type")
    return Response(answer.body, status_code=answer.status, headers=headers, media_type=media_type)


EXCEPTION_HANDLERS: ExceptionHandlersMap = {Exception: _handle}
