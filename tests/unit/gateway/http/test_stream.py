"""One client's stream of events: what goes out, in which order, and when it is given up."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from backends.protocol import Delta, Finished, GenerateParameters, GenerationResult, ItemDone, Job, Text
from config.schema import TimeoutsConfig
from gateway.engine.errors import WorkerDied
from gateway.engine.stream import JobStream
from gateway.http.disconnect import remember_transport
from gateway.http.stream import EventStream, open_stream


class Server:
    """Stands for the HTTP server: records what is sent. Bodies that are `stuck` wait for ever."""

    def __init__(self, stuck: Callable[[bytes], bool] | None = None) -> None:
        self.sent: list[Any] = []
        self.aborted = False
        self.gone = asyncio.Event()
        self.transport = self
        self._stuck = stuck

    def get_write_buffer_size(self) -> int:
        return 0 if self._stuck is None else 1

    def abort(self) -> None:
        self.aborted = True

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body" and self._stuck and self._stuck(message["body"]):
            await asyncio.Event().wait()
        self.sent.append(message)

    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(message["body"], message["more_body"]) for message in self.sent[1:]]

    def text(self) -> bytes:
        return b"".join(body for body, _ in self.bodies())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0)


class Letters:
    """Chunks that show which part they are of."""

    def opening(self) -> bytes:
        return b"<"

    def delta(self, delta: Delta) -> bytes:
        return delta.text.encode()

    def finish(self, item: int, result: GenerationResult) -> bytes:
        return b"."

    def closing(self, results: Sequence[GenerationResult]) -> bytes:
        return b">"


class Played:
    """A job that the test plays, and the answer that is sent of it."""

    def __init__(self, server: Server, timeouts: TimeoutsConfig) -> None:
        self.aborted: list[str] = []
        job = Job("j", "m", "generate", GenerateParameters(), [Text("hi")], stream=True)
        self.stream = JobStream(job, lambda job_id, reason: self.aborted.append(job_id))
        self._server = server
        self._timeouts = timeouts

    def say(self, text: str) -> None:
        self.stream.push(Delta("j", 0, text))

    def end(self) -> None:
        self.stream.push(ItemDone("j", 0, GenerationResult("", "length", 1, 1)))
        self.stream.push(Finished("j"))
        self.stream.end()

    async def opened(self) -> EventStream:
        return await open_stream(self.stream, Letters(), self._timeouts)

    async def run(self) -> None:
        scope: Any = {"type": "http", "method": "POST"}
        remember_transport(scope, self._server.send)
        await (await self.opened())(scope, self._server.receive, self._server.send)


def played(server: Server, **timeouts: float) -> Played:
    return Played(server, TimeoutsConfig(**{"first_event_s": 1e-6, "send_s": 1e-6, **timeouts}))


async def test_headers_pieces_and_the_end_go_out_in_order() -> None:
    server = Server()
    job = played(server, send_s=60.0)
    answer = asyncio.ensure_future(job.run())
    job.say("a")
    job.say("b")
    await server.until(lambda: b"ab" in server.text())
    job.end()
    await answer
    start, *bodies = server.sent
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"
    assert [body["body"] for body in bodies if body["body"]] == [b"<ab", b".>"]
    assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    assert job.aborted == []


@pytest.mark.parametrize("last", [False, True])
async def test_a_client_that_takes_nothing_is_cut_off(last: bool) -> None:
    # What a server takes when its buffer is full already: the send after it waits.
    server = Server(stuck=(lambda body: body == b"") if last else (lambda body: True))
    job = played(server)
    job.say("a")
    if last:
        job.end()
    await job.run()
    assert server.aborted
    assert job.aborted == ([] if last else ["j"])


async def test_a_stuck_client_of_a_silent_stream_is_cut_off() -> None:
    server = Server(stuck=lambda body: True)
    job = played(server, keepalive_s=1e-6)
    await job.run()
    assert server.aborted
    assert job.aborted == ["j"]


async def test_a_silent_stream_is_kept_alive() -> None:
    server = Server()
    job = played(server, keepalive_s=1e-6, send_s=60.0)
    answer = asyncio.ensure_future(job.run())
    await server.until(lambda: b": keepalive\n\n: keepalive\n\n" in server.text())
    job.end()
    await answer
    assert b"<.>" in server.text()
    assert server.bodies()[-1] == (b"", False)  # and no comment after the end


async def test_a_stream_that_says_something_is_not_kept_alive() -> None:
    job = played(Server())
    events = await job.opened()
    job.say("a")
    pieces = events._events()
    assert await anext(pieces) == b"<a"
    assert events._keepalive().encode() == b""
    assert events._keepalive().encode() == b": keepalive\n\n"
    job.say("b")
    assert await anext(pieces) == b"b"
    assert events._keepalive().encode() == b""


async def test_a_client_that_leaves_aborts_the_job() -> None:
    server = Server()
    job = played(server, send_s=60.0)
    answer = asyncio.ensure_future(job.run())
    job.say("a")
    await server.until(lambda: b"a" in server.text())
    server.gone.set()
    await answer
    assert job.aborted == ["j"]
    assert not server.aborted


async def test_a_failure_is_told_in_band_and_ends_the_stream() -> None:
    server = Server()
    job = played(server, send_s=60.0)
    answer = asyncio.ensure_future(job.run())
    job.say("a")
    await server.until(lambda: b"a" in server.text())
    job.stream.fail(WorkerDied("gone"))
    await answer
    assert b'"code":"worker_died"' in server.text()
    assert server.bodies()[-1] == (b"", False)
