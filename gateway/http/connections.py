"""How many connections there may be, and clients that never come to the point or do not take their answer.

Owns the count that is allowed, which the process's file descriptors bound too, the time for a request's head
and its size, and what becomes of answers that nobody reads to their end. Above the count requests are refused
by the front, with all that a refusal has. Beyond a reserve, which is there so that /health answers,
connections are answered and closed before anything is read, so that file descriptors never run out: a server
without any would accept and fail in a circle.
"""

import asyncio
import math
import resource
from typing import Any

from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.engine.errors import BadRequest, GatewayError, QueueFull
from gateway.http.errors import error_answer

_RESERVE = 64
"""Connections above the bound that are let in to be refused in order, or to ask for /health."""
_OTHER_FILES = 32
"""Descriptors that are not connections: listening, logs, libraries …"""
_FILES_PER_WORKER = 8
"""Channel, pipes, and what a launch opens for a moment."""
_FEWEST = 4
_MAX_HEAD = 64 * 1024
"""Bytes of a request's head. The parser copies an unfinished header anew with every piece that comes."""


def raise_file_limit() -> int:
    """As many file descriptors as the system lets us have; how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS promises more than it gives
            return soft
    return hard if hard != resource.RLIM_INFINITY else 2**20


class ConnectionLimit:
    """`most`: as configured; `files`: descriptors there are; `workers`: how many may run at once."""

    def __init__(self, most: int, files: int, workers: int) -> None:
        left = files - _OTHER_FILES - _FILES_PER_WORKER * workers
        self.reserve = min(_RESERVE, max(_FEWEST, left // 4))
        self.most = max(_FEWEST, min(most, left - self.reserve))
        self.open: set[Any] = set()
        """The server's own set, once it has one."""

    @property
    def reached(self) -> bool:
        return len(self.open) > self.most

    @property
    def exhausted(self) -> bool:
        return len(self.open) > self.most + self.reserve


def too_many() -> QueueFull:
    return QueueFull("The server has too many connections open.", code="too_many_connections")


def _raw_refusal(status: bytes, error: GatewayError) -> bytes:
    answer = error_answer(error)
    headers = [*answer.headers, (b"connection", b"close")]
    lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + answer.body


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on how many there are, on the time and size of a head, and on how long
    the rest of an answer waits for a client that does not read."""

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limit: ConnectionLimit,
        head_s: float,
        send_s: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        limit.open = server_state.connections
        self._limit = limit
        self._head_s = head_s
        self._send_s = send_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._unsent_timer: asyncio.TimerHandle | None = None
        self._unsent = math.inf
        """Bytes that waited for the client when they were last looked at."""
        self._unparsed = 0
        """Bytes of which nothing has come so far: of a head, or of trailers, which never end either."""
        self._came_to_something = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._limit.exhausted:
            transport.write(_raw_refusal(b"503 Service Unavailable", too_many()))
            transport.close()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._came_to_something = False
        super().data_received(data)
        self._unparsed = 0 if self._came_to_something else self._unparsed + len(data)
        if self._unparsed > _MAX_HEAD and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        if self._head_timer is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._came_to_something = True
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > _MAX_HEAD:
            self._refuse_head()
            raise ValueError("the head is too large")  # makes the parser stop
        self._head_came()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._came_to_something = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._came_to_something = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():  # refused already
            super().send_400_response(msg)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # Nobody awaits that the last bytes are taken, and an orderly close waits for it without end.
        self._stop_watching()
        self._unsent = self.transport.get_write_buffer_size()
        if self._unsent:
            self._unsent_timer = self.loop.call_later(self._send_s, self._look_at_unsent)

    def pause_writing(self) -> None:
        self._unsent = math.inf  # more was written: sizes do not compare
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unsent = math.inf
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        self._stop_watching()  # the connection is another protocol's from here on
        super().handle_websocket_upgrade()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_s, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_head(self) -> None:
        """In words where an answer is due next; in the midst of another one they would be taken for its."""
        if self._head_timer is None or (self.cycle is not None and not self.cycle.response_complete):
            self.transport.abort()
            return
        error = BadRequest("The head of the request is too large.", code="request_head_too_large")
        self.transport.write(_raw_refusal(b"431 Request Header Fields Too Large", error))
        self.transport.close()

    def _look_at_unsent(self) -> None:
        """Cut the connection off if nothing was taken since the last look; an orderly close would wait."""
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        # The next answer may have been added meanwhile. As long as more may be, there is little in it.
        adding = not self.cycle.response_complete and not self.flow.write_paused
        if self._unsent >= before and not adding:
            self.transport.abort()
        elif self._unsent:
            self._unsent_timer = self.loop.call_later(self._send_s, self._look_at_unsent)

    def _stop_watching(self) -> None:
        if self._unsent_timer is not None:
            self._unsent_timer.cancel()
            self._unsent_timer = None
