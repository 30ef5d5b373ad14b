"""What browsers of allowed origins are told: preflight answers and response headers."""

from litestar.types import HTTPScope

from gateway.http.answer import Answer
from gateway.http.hosts import header_values
from gateway.http.urgency import PRIORITY, TIMEOUT

_MAX_AGE_S = b"600"
_EXPOSED = b"x-request-id, retry-after, retry-after-ms, x-should-retry, x-queue-position, x-queue-length"
_METHODS = b"GET, POST, DELETE, OPTIONS"
_READ = {"authorization", "content-type", "accept", "x-request-id", "openai-organization", PRIORITY, TIMEOUT}
_UNREAD = {"user-agent", "idempotency-key", "x-requested-with"}
"""Clients set them by themselves, and a browser asks before it sends them."""
_HEADERS = frozenset(_READ | _UNREAD)
_PREFIXES = ("x-stainless-", "openai-")


def is_preflight(scope: HTTPScope) -> bool:
    return scope["method"] == "OPTIONS" and bool(
        header_values(scope["headers"], b"access-control-request-method")
    )


def preflight_answer(scope: HTTPScope) -> Answer:
    """For an origin that has been checked. Of the headers asked for, those that we know are allowed."""
    asked = ",".join(header_values(scope["headers"], b"access-control-request-headers")).lower()
    names = [name.strip() for name in asked.split(",")]
    allowed = [
        name
        for name in names
        if name.isascii()
        and (name in _HEADERS or name.startswith(_PREFIXES))
        and name.replace("-", "").isalnum()
    ]
    headers = [
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", ", ".join(allowed or sorted(_HEADERS)).encode("ascii")),
        (b"access-control-max-age", _MAX_AGE_S),
    ]
    return Answer(b"", 204, headers=headers)


def origin_headers(origin: str | None) -> list[tuple[bytes, bytes]]:
    """Headers of every answer: `origin` is one that has been checked, or None."""
    vary = (b"vary", b"origin")
    if origin is None:
        return [vary]
    return [
        vary,
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
    ]
