"""Streams and departures over a real socket, with an engine that the test itself plays."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import uvicorn

from backends.protocol import Delta, Finished, GenerationResult, ItemDone
from config.schema import TimeoutsConfig
from gateway.engine.errors import ModelFailed, WorkerDied
from gateway.engine.stream import JobStream
from gateway.http.connections import Connection, ConnectionLimit
from tests.unit.gateway.http.fakes import Site, make_site, silence

BODY = {"model": "talker", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


class Live:
    """A site on a socket, and a client for it."""

    def __init__(self, site: Site, client: httpx.AsyncClient, server: uvicorn.Server, port: int) -> None:
        self.site = site
        self.engine = site.engine
        self.client = client
        self.server = server
        self.port = port

    async def job(self) -> JobStream:
        """The stream of the first job, once it has been submitted."""
        async with asyncio.timeout(5):
            while not self.engine.streams:
                await asyncio.sleep(0.001)
        return self.engine.streams[0]

    async def aborted(self) -> None:
        async with asyncio.timeout(10):
            while not self.engine.aborted:
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def serving(path: Path, timeouts: TimeoutsConfig | None = None) -> AsyncIterator[Live]:
    site = make_site(path / "keys.json", silence, timeouts=timeouts)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    of_time = timeouts or TimeoutsConfig()
    protocol = partial(
        Connection, limit=ConnectionLimit(100, 1000, 0), head_s=of_time.head_s, send_s=of_time.send_s
    )
    server = uvicorn.Server(
        uvicorn.Config(
            site.app,
            lifespan="off",
            log_config=None,
            http=protocol,  # type: ignore[arg-type]
            ws="none",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=1,
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    running = asyncio.ensure_future(server.serve(sockets=[sock]))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client, site.client:
        try:
            yield Live(site, client, server, port)
        finally:
            server.should_exit = True
    await running


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with serving(tmp_path) as opened:
        yield opened


def say(stream: JobStream, text: str) -> None:
    stream.push(Delta(stream.job.id, 0, text))


def finish(stream: JobStream) -> None:
    stream.push(ItemDone(stream.job.id, 0, GenerationResult("", "length", 1, 1)))
    stream.push(Finished(stream.job.id))
    stream.end()


async def test_each_piece_reaches_the_client_as_it_comes(live: Live) -> None:
    async with asyncio.TaskGroup() as tasks:
        opening = tasks.create_task(live.job())

        async def read() -> list[str]:
            seen: list[str] = []
            async with live.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
                async for line in response.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    (choice,) = json.loads(line.removeprefix("data: "))["choices"]
                    text = choice["delta"].get("content")
                    if text:
                        seen.append(text)
                        # The next piece is only made once this one has been read.
                        say(await opening, "b") if len(seen) == 1 else finish(await opening)
            return seen

        reading = tasks.create_task(read())
        say(await opening, "a")
    assert reading.result() == ["a", "b"]
    assert live.engine.aborted == []


async def test_a_failure_before_the_first_piece_keeps_its_status(live: Live) -> None:
    reply = asyncio.ensure_future(live.client.post(CHAT, json=BODY | {"stream": True}))
    (await live.job()).fail(ModelFailed("broken weights"))
    response = await reply
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "model_failed"


async def test_a_failure_in_mid_stream_is_told_in_band(live: Live) -> None:
    reply = asyncio.ensure_future(live.client.post(CHAT, json=BODY | {"stream": True}))
    stream = await live.job()
    say(stream, "a")
    await asyncio.sleep(0.05)
    stream.fail(WorkerDied("the worker died"))
    response = await reply
    assert response.status_code == 200
    last = response.text.rstrip().split("\n\n")[-1]
    error = json.loads(last.removeprefix("data: "))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == "worker_died"
    assert "[DONE]" not in response.text


async def test_a_silent_stream_sends_headers_and_keepalives(tmp_path: Path) -> None:
    async with serving(tmp_path, TimeoutsConfig(first_event_s=0.05, keepalive_s=0.05)) as live:
        async with live.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
            assert response.status_code == 200
            lines = response.aiter_lines()
            while not (line := await anext(lines)):
                pass
            assert line == ": keepalive"
            stream = await live.job()
            say(stream, "late")
            finish(stream)
            rest = [line async for line in lines]
        assert any("late" in line for line in rest)
        assert rest[-2:] == ["data: [DONE]", ""]
        assert not any(line.startswith(("id:", "event:")) for line in rest)


async def test_a_failure_after_the_headers_of_a_silent_stream_is_told_in_band(tmp_path: Path) -> None:
    timeouts = TimeoutsConfig(first_event_s=0.05)
    async with (
        serving(tmp_path, timeouts) as live,
        live.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response,
    ):
        (await live.job()).fail(WorkerDied("gone"))
        text = "".join([part async for part in response.aiter_text()])
    assert json.loads(text.removeprefix("data: "))["error"]["code"] == "worker_died"


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_first_piece_aborts_the_job(live: Live, stream: bool) -> None:
    reply = asyncio.ensure_future(live.client.post(CHAT, json=BODY | {"stream": stream}))
    job = (await live.job()).job
    reply.cancel()
    await live.aborted()
    assert live.engine.aborted[0] == job.id


async def test_leaving_in_mid_stream_aborts_the_job(live: Live) -> None:
    async def read() -> None:
        async with live.client.stream("POST", CHAT, json=BODY | {"stream": True}) as response:
            await anext(response.aiter_bytes())

    reading = asyncio.ensure_future(read())
    say(await live.job(), "a")
    await reading
    await live.aborted()


async def test_leaving_a_silent_stream_aborts_the_job(tmp_path: Path) -> None:
    async with serving(tmp_path, TimeoutsConfig(first_event_s=0.05)) as live:
        async with live.client.stream("POST", CHAT, json=BODY | {"stream": True}):
            await live.job()
        await live.aborted()


async def test_leaving_while_the_model_is_described_starts_no_job(live: Live) -> None:
    live.engine.describe_blocked = asyncio.Event()
    reply = asyncio.ensure_future(live.client.post(CHAT, json=BODY))
    async with asyncio.timeout(10):
        await live.engine.describing.wait()
        reply.cancel()
        while 'status="499"' not in live.site.metrics.render().decode():
            await asyncio.sleep(0.01)
    live.engine.describe_blocked.set()
    await asyncio.sleep(0.05)
    assert live.engine.jobs == []


async def test_a_client_that_stops_reading_is_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, TimeoutsConfig(send_s=0.2)) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=1024)
        body = json.dumps(BODY | {"stream": True}).encode()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        stream = await live.job()
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # what a stuck client looks like
        while not live.engine.aborted:
            say(stream, "x" * 1_000_000)
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            while live.server.server_state.connections:  # cut off, with all that waited to be sent
                await asyncio.sleep(0.01)
        writer.close()


LONG = 20_000_000
"""Characters of an answer that the system's own buffers do not hold."""


async def ask_for_a_long_answer(live: Live) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.port, limit=1024)
    body = json.dumps(BODY).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(body) + body
    )
    stream = await live.job()
    reader._transport.pause_reading()  # type: ignore[attr-defined]
    stream.push(ItemDone(stream.job.id, 0, GenerationResult("x" * LONG, "length", 1, 1)))
    stream.push(Finished(stream.job.id))
    stream.end()
    return reader, writer


async def test_a_client_that_never_reads_a_whole_answer_is_let_go(tmp_path: Path) -> None:
    async with serving(tmp_path, TimeoutsConfig(send_s=0.3)) as live:
        _, writer = await ask_for_a_long_answer(live)
        async with asyncio.timeout(10):
            while live.server.server_state.connections:
                await asyncio.sleep(0.01)
        writer.close()


async def test_a_client_that_reads_a_whole_answer_slowly_gets_it(tmp_path: Path) -> None:
    async with serving(tmp_path, TimeoutsConfig(send_s=0.5)) as live:
        reader, writer = await ask_for_a_long_answer(live)
        length, pieces = 0, 15
        for _ in range(pieces):
            await asyncio.sleep(0.1)
            reader._transport.resume_reading()  # type: ignore[attr-defined]
            length += len(await reader.readexactly(LONG // pieces))
        assert length == LONG // pieces * pieces
        writer.close()


async def test_a_body_that_never_ends_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, TimeoutsConfig(send_s=0.1)) as live:
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n{"
        )
        assert await reader.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
        writer.close()
