"""How many connections there may be, and clients that never come to the point.

Owns the count that is allowed, which the process's file descriptors bound too, and the time for a request's
head. Above the count requests are refused by the front, with all that a refusal has. Beyond a reserve, which
is there so that /health answers, connections are answered and closed before anything is read, so that file
descriptors never run out: a server without any would accept and fail in a circle.
"""

import asyncio
import resource
from typing import Any

from uvicorn.config import Config as UvicornConfig
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.engine.errors import QueueFull
from gateway.http.errors import error_answer

_RESERVE = 64
"""Connections above the bound that are let in to be refused in order, or to ask for /health."""
_OTHER_FILES = 32
"""Descriptors that are not connections: listening, logs, libraries …"""
_FILES_PER_WORKER = 8
"""Channel, pipes, and what a launch opens for a moment."""
_FEWEST = 4


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


def _raw_refusal() -> bytes:
    answer = error_answer(too_many())
    headers = [*answer.headers, (b"connection", b"close")]
    lines = [b"HTTP/1.1 503 Service Unavailable", *(name + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + answer.body


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on how many there are and on how long a head may take."""

    def __init__(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limit: ConnectionLimit,
        head_s: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        limit.open = server_state.connections
        self._limit = limit
        self._head_s = head_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._limit.exhausted:
            transport.write(_raw_refusal())
            transport.close()
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        if self._head_timer is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self._head_s, self.transport.abort)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
