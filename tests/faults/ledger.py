"""The client ledger: every request sent, and the one outcome that each of them had.

Owns the client's side of all connections, on an event loop in a thread of its own, so that a row reads from
top to bottom while thousands of requests are open. Must not import anything that it is to judge.
"""

import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import httptools

Outcome = Literal[
    "done",  # whole: a stream with [DONE] and no error, or a body with status 200
    "in_band",  # a stream that ended with an error frame and no [DONE]
    "refused",  # a status from 400 on
    "left",  # the client itself went away
    "cut",  # the connection ended before the answer did
    "unended",  # a stream that ended in order, with neither [DONE] nor an error: clients take it for success
    "muddled",  # an error and [DONE], or more bytes after the end
    "unconnected",  # no connection came about
    "late",  # no end within the client's patience
]
GOOD: frozenset[str] = frozenset({"done", "in_band", "refused", "left"})
_KEPT_BYTES = 1 << 16
_SMALL_BUFFER = 4096
_NO_LINGER = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Entry:
    """One request. Times are `time.monotonic` seconds, 0 where it has not come so far."""

    number: int
    path: str
    sent_at: float = 0.0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    first_at: float = 0.0
    """The first event, or the first byte of another body."""
    last_at: float = 0.0
    ended_at: float = 0.0
    events: int = 0
    """`data:` lines that are neither [DONE] nor an error."""
    longest_gap_s: float = 0.0
    """Between two events."""
    gaps: list[float] | None = None
    """All of them, where the row asks for them."""
    body: bytes = b""
    """Of an answer that is no stream, its beginning."""
    code: str = ""
    """Of the error that it was told."""
    error: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def verdict(self) -> str:
        """The outcome, and of an error its code: `refused 503 queue_full`."""
        parts = [self.outcome or "open", str(self.status) if self.outcome == "refused" else "", self.code]
        return " ".join(part for part in parts if part)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Manner:
    """How a client behaves."""

    reads: bool = True
    """False: it sends its request and never takes a byte of the answer."""
    resets_after: int | None = None
    """It resets the connection after so many events."""
    patience_s: float = 60.0
    keeps_gaps: bool = False


READER = Manner()


class Ledger:
    """Send through it, then `settle`; `counts` and `losses` say what came of it."""

    def __init__(self, base_url: str) -> None:
        address = urlsplit(base_url)
        assert address.hostname is not None
        assert address.port is not None
        self.host, self.port = address.hostname, address.port
        self.entries: list[Entry] = []
        self._open: dict[int, _Client] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ledger", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave(self.entries)
        self._call(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        count: int = 1,
        manner: Manner = READER,
        at_once: int = 500,
    ) -> list[Entry]:
        """Open `count` requests, `at_once` of them at a time; returns at once."""
        return self.send_each(path, [body] * count, manner=manner, at_once=at_once)

    def send_each(
        self,
        path: str,
        bodies: list[Mapping[str, Any]],
        *,
        manner: Manner = READER,
        at_once: int = 500,
    ) -> list[Entry]:
        return self.send_raw(path, [post(path, body) for body in bodies], manner=manner, at_once=at_once)

    def send_raw(
        self, path: str, requests: list[bytes], *, manner: Manner = READER, at_once: int = 500
    ) -> list[Entry]:
        """Requests as they go over the wire."""
        first = len(self.entries)
        entries = [
            Entry(first + index, path, gaps=[] if manner.keeps_gaps else None)
            for index in range(len(requests))
        ]
        self.entries += entries
        room = asyncio.Semaphore(at_once)

        async def begin() -> None:
            for entry, request in zip(entries, requests, strict=True):
                self._tasks.append(asyncio.create_task(self._exchange(entry, request, manner, room)))
            self._tasks = [task for task in self._tasks if not task.done()]

        self._call(begin())
        return entries

    def leave(self, entries: list[Entry]) -> None:
        """These clients reset their connections now."""
        self._call(self._leave(entries))

    def read_on(self, entries: list[Entry]) -> None:
        """Those that never read look at last what became of their connection."""
        self._call(self._read_on(entries))

    def settle(self, entries: list[Entry] | None = None, timeout_s: float = 60.0) -> list[Entry]:
        """Wait until each has its outcome; whoever has none after `timeout_s` is given up as `late`."""
        watched = self.entries if entries is None else entries
        deadline = time.monotonic() + timeout_s
        while any(entry.outcome is None for entry in watched) and time.monotonic() < deadline:
            time.sleep(0.01)
        self._call(self._give_up(watched))
        return watched

    def answer(self, path: str, body: Mapping[str, Any], *, patience_s: float = 60.0) -> Entry:
        """Send one and wait for its end."""
        (entry,) = self.settle(self.send(path, body, manner=Manner(patience_s=patience_s)), patience_s + 1)
        return entry

    def counts(self, entries: list[Entry] | None = None) -> Counter[str]:
        return Counter(entry.verdict for entry in (self.entries if entries is None else entries))

    def losses(self, entries: list[Entry] | None = None) -> int:
        """Requests without an outcome that a client can understand."""
        watched = self.entries if entries is None else entries
        return sum(entry.outcome not in GOOD for entry in watched)

    # --- on the loop ----------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _exchange(self, entry: Entry, request: bytes, manner: Manner, room: asyncio.Semaphore) -> None:
        async with room:
            client = _Client(entry, manner)
            entry.sent_at = time.monotonic()
            try:
                async with asyncio.timeout(manner.patience_s):
                    await self._loop.create_connection(lambda: client, sock=await self._connect(manner))
                    self._open[entry.number] = client
                    entry.sent_at = time.monotonic()
                    client.begin(request)
                    await client.over.wait()
            except TimeoutError:
                client.end("late")
            except OSError:
                client.end("unconnected")
            finally:
                client.close()
                self._open.pop(entry.number, None)

    async def _connect(self, manner: Manner) -> socket.socket:
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if not manner.reads:  # what the system takes in for it is to be full soon
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
            await self._loop.sock_connect(sock, (self.host, self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _leave(self, entries: list[Entry]) -> None:
        for entry in entries:
            if client := self._open.get(entry.number):
                client.reset()

    async def _read_on(self, entries: list[Entry]) -> None:
        for entry in entries:
            if client := self._open.get(entry.number):
                client.read_on()

    async def _give_up(self, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.outcome is None:
                if client := self._open.get(entry.number):
                    client.end("late")
                else:
                    entry.outcome, entry.ended_at = "late", time.monotonic()

    async def _finish(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)


def post(path: str, body: Mapping[str, Any]) -> bytes:
    """A whole request on a connection of its own."""
    return post_bytes(path, json.dumps(body).encode())


def post_bytes(path: str, data: bytes, media: str = "application/json") -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {media}",
        f"Content-Length: {len(data)}",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + data


class _Client(asyncio.Protocol):
    """One connection with one request on it. Sets the entry's outcome, once."""

    def __init__(self, entry: Entry, manner: Manner) -> None:
        self.entry = entry
        self.over = asyncio.Event()
        self._manner = manner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._streamed = False
        self._partial = b""
        self._done = False

    def begin(self, request: bytes) -> None:
        assert self._transport is not None
        if not self._manner.reads:
            self._transport.pause_reading()
        self._transport.write(request)

    def read_on(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def end(self, outcome: Outcome) -> None:
        if self.entry.outcome is None:
            self.entry.ended_at = time.monotonic()
            self.entry.outcome = outcome
        self.over.set()

    def reset(self) -> None:
        """RST instead of FIN, as a crashed client sends it."""
        if self._transport is not None and self.entry.outcome is None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self._transport.abort()
            self.end("left")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.entry.outcome is not None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.end("muddled")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("cut")

    # --- what the parser calls ------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self.entry.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.entry.status = self._parser.get_status_code()
        self._streamed = self.entry.headers.get("content-type", "").startswith("text/event-stream")

    def on_body(self, data: bytes) -> None:
        if self._streamed:
            *lines, self._partial = (self._partial + data).split(b"\n")
            for line in lines:
                self._read(line)
        else:
            self.entry.first_at = self.entry.first_at or time.monotonic()
            if len(self.entry.body) < _KEPT_BYTES:
                self.entry.body += data

    def on_message_complete(self) -> None:
        entry = self.entry
        if entry.status >= 400:
            self._note_error(entry.body)
            self.end("refused")
        elif not self._streamed:
            self.end("done")
        elif self._done:
            self.end("muddled" if entry.code else "done")
        else:
            self.end("in_band" if entry.code else "unended")

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data: "):
            return
        entry, data = self.entry, line[6:]
        if data == b"[DONE]":
            self._done = True
        elif data.startswith(b'{"error"'):
            self._note_error(data)
        else:
            self._note_event(time.monotonic())
            if entry.events == self._manner.resets_after:
                self.reset()

    def _note_event(self, now: float) -> None:
        entry = self.entry
        if entry.events:
            gap_s = now - entry.last_at
            entry.longest_gap_s = max(entry.longest_gap_s, gap_s)
            if entry.gaps is not None:
                entry.gaps.append(gap_s)
        else:
            entry.first_at = now
        entry.last_at = now
        entry.events += 1

    def _note_error(self, data: bytes) -> None:
        """A code of its own for what is no error envelope."""
        try:
            self.entry.error = json.loads(data)["error"]
        except (ValueError, KeyError, TypeError):
            self.entry.code = "no_envelope"
            return
        whole = set(self.entry.error) == {"message", "type", "param", "code"}
        self.entry.code = str(self.entry.error["code"]) if whole else "no_envelope"
