"""A light HTTP/1.1 client: one connection, one request at a time, arrival times of server-sent events.

Owns the socket side of a measurement. It shares its cores with the servers that it measures, so while bytes
arrive it only notes the time and keeps the line; JSON is decoded afterwards (`openai_stream`).
"""

import asyncio
import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any, cast

import httptools
from msgspec import Struct, field


class Address(Struct, frozen=True):
    host: str
    port: int


class Answer(Struct):
    """One response. Times are `perf_counter` seconds."""

    sent_at: float
    status: int = 0
    ended_at: float = 0.0
    first_at: float = 0.0
    """Arrival of the first bytes of the body; 0 if there were none."""
    events: list[tuple[float, bytes]] = field(default_factory=list)
    """Payload of each `data:` line of an event stream, with its arrival."""
    body: bytes = b""
    """The whole body of anything that is no event stream."""
    failure: str = ""
    """Why there is no complete response; empty if there is one."""


def post(path: str, body: Mapping[str, Any]) -> bytes:
    """A POST request with a JSON body, ready to send."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def post_bytes(path: str, data: bytes) -> bytes:
    """A POST request with a body of any kind, ready to send."""
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """Open with `connect`, then `await exchange(...)` as often as wanted, then `close`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._is_event_stream = False
        self._arrived_at = 0.0
        self._partial = b""

    @classmethod
    async def connect(cls, address: Address) -> "Connection":
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, address.host, address.port)
        return connection

    async def exchange(self, request: bytes, timeout_s: float) -> Answer:
        """Sends one request, waits for the end of its response. A failure is in the answer, never raised."""
        answer = self._answer = Answer(sent_at=perf_counter())
        if self._transport is None or self.closed:
            answer.failure = "connection is closed"
            return answer
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(timeout_s):
                await self._done
        except TimeoutError:
            answer.failure = f"no complete response in {timeout_s} s"
            self.close()
        return answer

    @property
    def answer(self) -> Answer | None:
        """The response that is coming in, or the last one."""
        return self._answer

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._arrived_at = perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._finish(f"malformed response: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(f"connection lost: {exc or 'closed by the server'}")

    # --- httptools callbacks ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._is_event_stream = False
        self._partial = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
            self._is_event_stream = True

    def on_body(self, body: bytes) -> None:
        answer = self._answer
        if answer is None:
            return
        answer.first_at = answer.first_at or self._arrived_at
        if not self._is_event_stream:
            answer.body += body
            return
        *lines, self._partial = (self._partial + body).split(b"\n")
        answer.events += [(self._arrived_at, line[5:].strip()) for line in lines if line.startswith(b"data:")]

    def on_message_complete(self) -> None:
        self._finish("")
        if not self._parser.should_keep_alive():
            self.close()

    def _finish(self, failure: str) -> None:
        if self._answer is None or self._done is None or self._done.done():
            return
        self._answer.ended_at = self._arrived_at or perf_counter()
        self._answer.status = self._parser.get_status_code() or 0
        self._answer.failure = failure
        self._done.set_result(None)
