"""Clients that leave, and clients that must be left.

The framework does not cancel a handler whose client has left, so the handler runs inside `until_disconnect`.
A client that has stopped reading is cut off: an orderly close would wait until it reads.
"""

import asyncio
from types import TracebackType
from typing import Any

from litestar.types import Receive, Scope, Send

_TRANSPORT = "llm_cortex.transport"


class ClientGone(Exception):
    """The client has closed its connection: there is nobody to answer."""


class until_disconnect:
    """`with until_disconnect(receive):` cancels its body when the client leaves, and raises ClientGone.

    The request's body must have been read: from here on `receive` has nothing else to say.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._watcher = asyncio.ensure_future(self._watch())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.cancel()
        if self._gone and self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise ClientGone from None

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()


def remember_transport(scope: Scope, send: Send) -> None:
    """Keep the way to cut the connection off; `send` must be the server's own.

    ASGI has no word for it, but uvicorn's `send` is a method of the object that holds the transport.
    """
    server_side = getattr(send, "__self__", None)
    scope[_TRANSPORT] = getattr(server_side, "transport", None)  # type: ignore[literal-required]


def has_unsent_bytes(scope: Scope) -> bool:
    """Whether the client has not yet taken all that was sent; True too where nobody can tell."""
    transport: Any = scope.get(_TRANSPORT)
    return transport is None or transport.get_write_buffer_size() > 0


async def cut_off(scope: Scope) -> None:
    """Drop the connection and what waits to be sent on it."""
    transport: Any = scope.get(_TRANSPORT)
    if transport is not None:
        transport.abort()
        await asyncio.sleep(0)  # lets the server see it before the app returns
