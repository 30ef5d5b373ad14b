"""The benchmark's HTTP client, fed by hand."""

import asyncio
from typing import Any

from benchmarks.client import Answer, Connection, post

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """Records what is written; closes when told."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closing = False

    def write(self, data: Any) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def exchange(*pieces: bytes) -> tuple[Answer, Connection]:
    connection = Connection()
    connection.connection_made(Wire())
    exchanging = asyncio.ensure_future(connection.exchange(post("/x", {"a": 1}), timeout_s=5))
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
    return await exchanging, connection


async def test_events_are_whole_however_the_bytes_are_cut() -> None:
    stream = HEAD + chunk(b"data: one\r\n\r\nda") + chunk(b"ta: two\n\n: comment\n\n") + b"0\r\n\r\n"
    answer, connection = await exchange(*(stream[i : i + 1] for i in range(len(stream))))
    assert [payload for _, payload in answer.events] == [b"one", b"two"]
    assert (answer.status, answer.failure, connection.closed) == (200, "", False)


async def test_a_plain_body_is_kept_whole() -> None:
    answer, _ = await exchange(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nno", b"pe")
    assert (answer.status, answer.body, answer.events) == (400, b"nope", [])


async def test_a_server_that_ends_the_connection_is_believed() -> None:
    _, connection = await exchange(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert connection.closed


async def test_what_is_no_http_is_a_failure() -> None:
    answer, connection = await exchange(b"garbage\r\n\r\n")
    assert "malformed" in answer.failure
    assert connection.closed


async def test_a_lost_connection_is_a_failure() -> None:
    connection = Connection()
    connection.connection_made(Wire())
    exchanging = asyncio.ensure_future(connection.exchange(post("/x", {}), timeout_s=5))
    await asyncio.sleep(0)
    connection.connection_lost(ConnectionResetError("gone"))
    assert (await exchanging).failure == "connection lost: gone"
