"""Notices a client that goes away while its answer is not ready.

The framework does not cancel a handler whose client has left, so the handler runs inside `until_disconnect`.
"""

import asyncio
from types import TracebackType

from litestar.types import Receive


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
