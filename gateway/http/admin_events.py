"""What happens to models as server-sent events, until the client leaves or the server ends."""

from collections.abc import AsyncIterator, Callable

import msgspec
from litestar.types import Receive, Scope, Send
from sse_starlette import ServerSentEvent
from sse_starlette.sse import SendTimeoutError

from config.schema import TimeoutsConfig
from gateway.engine.bulletin import ModelEvent, Watcher
from gateway.engine.errors import Unavailable
from gateway.http.disconnect import cut_off
from gateway.http.errors import error_frame
from gateway.http.stream import QuietResponse

_BEHIND = Unavailable("This watcher reads too slowly; connect again.", code="watcher_behind", retry_after_s=1)


def event_data(event: ModelEvent) -> bytes:
    """The data of one event."""
    return msgspec.json.encode(event)


class ModelEventStream:
    """An ASGI app; `data` makes an event's data, empty for one that is not told."""

    def __init__(
        self, watcher: Watcher, data: Callable[[ModelEvent], bytes], timeouts: TimeoutsConfig
    ) -> None:
        self._watcher = watcher
        self._data = data
        self._timeouts = timeouts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = QuietResponse(
            self._events(),
            sep="\n",
            ping=self._timeouts.keepalive_s,
            ping_message_factory=lambda: ServerSentEvent(comment="keepalive", sep="\n"),
            send_timeout=self._timeouts.send_s,
        )
        with self._watcher:
            try:
                await response(scope, receive, send)
            except* SendTimeoutError:
                await cut_off(scope)

    async def _events(self) -> AsyncIterator[bytes]:
        while events := await self._watcher.next():
            told = [self._data(event) for event in events]
            yield b"".join(b"data: " + data + b"\n\n" for data in told if data)
        yield error_frame(_BEHIND) if self._watcher.behind else b""
