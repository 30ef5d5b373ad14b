"""An answer that is known whole: status, headers, bytes.

Owns the two ASGI messages of it. Lighter than a framework response, and usable in front of the framework.
"""

from collections.abc import Iterable

from litestar.types import Receive, Scope, Send
from litestar.types.asgi_types import HTTPResponseBodyEvent, HTTPResponseStartEvent

RawHeaders = Iterable[tuple[bytes, bytes]]
JSON = b"application/json"


class Answer:
    """An ASGI app that sends `body`."""

    def __init__(self, body: bytes, status: int = 200, media: bytes = JSON, headers: RawHeaders = ()) -> None:
        self.body = body
        self.status = status
        self.headers = [
            (b"content-type", media),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": self.status,
            "headers": self.headers,
        }
        body: HTTPResponseBodyEvent = {"type": "http.response.body", "body": self.body, "more_body": False}
        await send(start)
        await send(body)
