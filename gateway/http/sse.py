"""One client that is sent server-sent events: headers, pieces, keep-alives, and its end.

Owns the connection's side of a stream; knows nothing of jobs. A piece costs one call of the server's `send`
and no timer: there is nothing to wait for unless bytes have piled up.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from litestar.types import Scope, Send

from gateway.http.disconnect import has_unsent_bytes

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"connection", b"keep-alive"),
    (b"x-accel-buffering", b"no"),
]
_KEEPALIVE = b": keepalive\n\n"


class ClientStuck(Exception):
    """The client has read nothing for so long that it must be cut off."""


class EventSource:
    """`async with opened(...) as source`, then `send` as often as wanted and `finish` once."""

    def __init__(self, scope: Scope, send: Send, send_s: float) -> None:
        self._scope = scope
        self._send = send
        self._send_s = send_s
        self._silent = True
        """Since the last look of the keep-alive."""
        self._keepalive: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, scope: Scope, send: Send, *, send_s: float, keepalive_s: float
    ) -> AsyncIterator["EventSource"]:
        """Sends the headers; a comment goes out whenever nothing else has for `keepalive_s`."""
        source = cls(scope, send, send_s)
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        source._keepalive = asyncio.create_task(source._keep_alive(keepalive_s), name="keepalive")
        try:
            yield source
        finally:
            source._keepalive.cancel()

    async def send(self, events: bytes) -> None:
        """Raises ClientStuck. A client that has left is no error: the server drops what is sent to it."""
        self._silent = False
        await self._body(events, more=True)

    async def finish(self, events: bytes) -> None:
        """The last events, and the end of the response. Nothing may be sent after it."""
        if self._keepalive is not None:
            self._keepalive.cancel()
        await self._body(events, more=False)

    async def _body(self, events: bytes, more: bool) -> None:
        sending = self._send({"type": "http.response.body", "body": events, "more_body": more})
        if not has_unsent_bytes(self._scope):
            return await sending
        try:
            async with asyncio.timeout(self._send_s):
                await sending
        except TimeoutError:
            raise ClientStuck from None

    async def _keep_alive(self, keepalive_s: float) -> None:
        while True:
            await asyncio.sleep(keepalive_s)
            if self._silent:
                with contextlib.suppress(ClientStuck):  # the next piece finds that out too
                    await self._body(_KEEPALIVE, more=True)
            self._silent = True
