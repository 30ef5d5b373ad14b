"""A client that leaves, and a deadline that passes, in whatever phase the job is.

Each time the worker is told, its slot gets free, and what waited then runs: all of it long before the job
would have ended. How fast on a machine that does nothing else is told by the fault table.
"""

import asyncio
import contextlib
import io
import socket
import time
import wave
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import pytest
import uvicorn

from config.load import ConfigFile, cache_dir, load_config
from config.schema import Config, ModelSpec
from gateway.app import create_app
from gateway.engine.engine import Engine
from gateway.engine.fleet import Fleet
from gateway.keys import KeyRing
from gateway.reloading import Reloader
from gateway.telemetry.metrics import Metrics
from gateway.weights.store import WeightsStore
from tests.process.fleet import until

TOLD_S = 2.0
FREE_S = 5.0

Phase = Callable[["Live"], bool]
How = Literal["leaves", "deadline"]


def fake(*tasks: str, **parameters: Any) -> ModelSpec:
    """One place, so that whoever comes second waits."""
    batch = bool({"embed", "caption", "classify"} & set(tasks))
    return ModelSpec(
        name="m",
        backend="fake_batch" if batch else "fake",
        tasks=list(tasks),  # type: ignore[arg-type]
        source=__file__,
        parameters={"max_sequences": 1, "step_ms": 20, "tokens": 100_000, **parameters},
    )


class Live:
    """A gateway in this process, workers in theirs."""

    def __init__(self, engine: Engine, client: httpx.AsyncClient) -> None:
        self.engine = engine
        self.client = client

    @property
    def fleet(self) -> Fleet:
        return self.engine._scheduler.fleet

    @property
    def jobs(self) -> set[str]:
        """Those that somebody waits for."""
        return set(self.fleet.jobs)

    def started(self) -> bool:
        return any(entry.started for entry in self.fleet.jobs.values())

    def held(self) -> set[str]:
        """Jobs that workers still have to do with."""
        return {job for worker in self.fleet.workers.values() for job in (*worker.jobs, *worker.aborting)}


@contextlib.asynccontextmanager
async def live(folder: Path, model: ModelSpec, cache: Path | None = None) -> AsyncIterator[Live]:
    config = Config(models=[model])
    metrics = Metrics()
    engine = Engine(config, WeightsStore(cache or folder), metrics, folder)
    reloader = Reloader(ConfigFile(folder / "config.yaml"), config, engine, metrics)
    keys = KeyRing.open(folder / "keys.json")
    app = create_app(config, engine, metrics, keys, reloader=reloader, spool=folder)
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    await engine.start()
    running = asyncio.ensure_future(server.serve(sockets=[sock]))
    base_url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(base_url=base_url, timeout=120) as client:
            yield Live(engine, client)
    finally:
        server.should_exit = True
        await running
        await engine.stop()


# --- requests -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    file: bytes | None = None
    file_part: str = "file"

    async def send(self, live: Live, **headers: str) -> httpx.Response:
        if self.file is None:
            return await live.client.post(self.path, json={"model": "m", **self.body}, headers=headers)
        files = {self.file_part: ("file", self.file)}
        return await live.client.post(
            self.path, data={"model": "m", **self.body}, files=files, headers=headers
        )


def chat(text: str, **more: Any) -> Call:
    return Call("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **more})


def hear(script: bytes, **more: Any) -> Call:
    return Call("/v1/audio/transcriptions", more, script)


def speak(text: str, **more: Any) -> Call:
    return Call("/v1/audio/speech", {"input": text, "voice": "low", "response_format": "pcm", **more})


def paint(text: str, **more: Any) -> Call:
    return Call("/v1/images/generations", {"prompt": text, **more})


def embed(*texts: str) -> Call:
    return Call("/v1/embeddings", {"input": list(texts)})


# --- the table ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    model: ModelSpec
    victim: Call
    reached: Phase
    """It is in the phase."""
    after: Call
    """What waits meanwhile, and then runs."""
    before: Call | None = None
    """What keeps the place taken; it leaves after the victim."""
    steps_s: float = 0.2
    """So that it is in the midst of it: without a stream nothing is heard of steps."""


def queued(live: Live) -> bool:
    return len(live.fleet.models["m"].queue) > 0


def worked_on(live: Live) -> bool:
    return live.started()


def loading(live: Live) -> bool:
    return any(worker.state == "starting" for worker in live.fleet.workers.values())


def preparing(live: Live) -> bool:
    workers = live.fleet.workers.values()
    return any(not entry.started for worker in workers for entry in worker.jobs.values())


TALK, HEAR, SPEAK, PAINT = fake("generate"), fake("transcribe"), fake("speak"), fake("paint")
BATCH = fake("embed", step_ms=300)
SHORT = "@tokens:1"

FAKE: dict[str, Cell] = {
    "queued in the gateway": Cell(TALK, chat("late"), queued, chat(SHORT), chat("@slow:20")),
    "queued in the worker": Cell(TALK, chat("next"), preparing, chat(SHORT), chat("@slow:20")),
    "loading": Cell(fake("generate", load_ms=3000), chat("cold"), loading, chat(SHORT)),
    "preparing": Cell(TALK, chat("@prepare-hang"), preparing, chat(SHORT)),
    "prefill": Cell(TALK, chat("@slow:100"), worked_on, chat(SHORT), steps_s=0),
    "decode": Cell(TALK, chat("long"), worked_on, chat(SHORT)),
    "decode, streamed": Cell(TALK, chat("long", stream=True), worked_on, chat(SHORT)),
    "several answers": Cell(TALK, chat("long", n=3), worked_on, chat(SHORT)),
    "speech chunk": Cell(SPEAK, speak("long"), worked_on, speak(SHORT)),
    "speech chunk, as events": Cell(SPEAK, speak("long", stream_format="sse"), worked_on, speak(SHORT)),
    "transcript segment": Cell(HEAR, hear(b"long"), worked_on, hear(SHORT.encode())),
    "transcript segment, streamed": Cell(HEAR, hear(b"x", stream="true"), worked_on, hear(SHORT.encode())),
    "denoising step": Cell(PAINT, paint("@tokens:5000"), worked_on, paint(SHORT)),
    "denoising step, streamed": Cell(
        PAINT, paint("@tokens:5000", stream=True, partial_images=1), worked_on, paint(SHORT)
    ),
    "embedding batch": Cell(BATCH, embed(*("text",) * 9), worked_on, embed("short"), steps_s=0.5),
}


@pytest.mark.parametrize("how", ["leaves", "deadline"])
@pytest.mark.parametrize("name", FAKE)
async def test_a_job_ends_in_every_phase(tmp_path: Path, name: str, how: How) -> None:
    async with live(tmp_path, FAKE[name].model) as running:
        if name != "loading":
            assert (await FAKE[name].after.send(running)).status_code == 200  # it is loaded, and warm
        await end_in_phase(running, FAKE[name], how)


async def end_in_phase(live: Live, cell: Cell, how: How, free_s: float = FREE_S) -> None:
    async with asyncio.TaskGroup() as tasks:
        holders = [tasks.create_task(cell.before.send(live))] if cell.before else []
        if cell.before is not None:
            await until(live.started)
            if cell.reached is queued:  # the look-ahead is taken too
                holders += [tasks.create_task(cell.before.send(live)) for _ in range(2)]
                await until(lambda: len(live.held()) == 3)
        known = live.jobs
        headers = {"x-request-timeout": "2"} if how == "deadline" else {}
        victim = tasks.create_task(answer_or_nothing(cell.victim.send(live, **headers)))
        await until(lambda: len(live.jobs - known) == 1)
        (job,) = live.jobs - known
        await until(lambda: cell.reached(live))
        await asyncio.sleep(cell.steps_s)
        waiting = tasks.create_task(cell.after.send(live))
        await until(lambda: bool(live.jobs - known - {job}))

        if how == "leaves":
            victim.cancel()
            assert await until(lambda: job not in live.jobs, 5) < TOLD_S
        else:
            assert says_that_its_time_is_over(await victim)
            assert job not in live.jobs
        assert await until(lambda: job not in live.held(), 60) < free_s
        for holder in holders:
            holder.cancel()
        answer = await waiting
        assert answer.status_code == 200, answer.text
        await until(lambda: not live.held() and not live.jobs)


async def answer_or_nothing(sending: Coroutine[Any, Any, httpx.Response]) -> httpx.Response | None:
    """None where the answer was cut off: sound cannot say in-band what has happened."""
    try:
        return await sending
    except httpx.RemoteProtocolError:
        return None


def says_that_its_time_is_over(answer: httpx.Response | None) -> bool:
    """With a status, or in-band where the status had gone out."""
    if answer is None:
        return True
    in_band = "data: " in answer.text
    return "timeout" in answer.text and answer.status_code == (200 if in_band else 504)


# --- real engines -------------------------------------------------------------------------------------


def noise(seconds: int) -> bytes:
    """A recording in which voice activity is found everywhere: a buzz with syllables."""
    import numpy as np

    time_s = np.arange(16_000 * seconds) / 16_000
    buzz = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 20))
    samples = (4000 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time_s))).clip(-32767, 32767)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16_000)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def spoken(text: str) -> Call:
    return Call("/v1/audio/speech", {"input": text, "voice": "alloy", "response_format": "pcm"})


def starter(name: str, **parameters: Any) -> ModelSpec:
    spec = next(spec for spec in load_config().models if spec.name == name)
    return msgspec.structs.replace(
        spec, name="m", aliases=[], preload=False, parameters={**spec.parameters, **parameters}
    )


LONG = "The birch canoe slid on the smooth planks. " * 200
STORY = chat("Tell me a very long story.", max_tokens=2000, logit_bias={}, ignore_eos=True)
REAL: dict[str, list[tuple[Call, Call]]] = {
    "smollm2-135m-instruct": [
        (STORY, chat("Hi", max_tokens=2)),
        (chat(LONG * 3, max_tokens=5), chat("Hi", max_tokens=2)),  # the prompt alone takes seconds
    ],
    "hibari": [(spoken(LONG), spoken("Hi."))],
    "whisper-tiny.en": [(hear(noise(600)), hear(noise(1))), (hear(noise(6)), hear(noise(1)))],
    "all-minilm-l6-v2": [(embed(*(LONG[:800],) * 1500), embed("short"))],
}
"""By starter model: what would take many seconds, and what waits meanwhile."""


@pytest.mark.parametrize("model", REAL)
async def test_a_real_engine_lets_go(tmp_path: Path, model: str) -> None:
    """After the step that it is in. How long that takes depends on the machine and what else runs on it: less
    than a second where this is alone, but it is not what is tried here. Whisper lets go soon whatever its
    model is at: in the time of a few short recordings, where a window of the long one takes many."""
    spec = starter(model)
    async with live(tmp_path, spec, cache_dir(load_config())) as running:
        for victim, after in REAL[model]:
            assert (await after.send(running)).status_code == 200  # it is loaded
            began_at = time.monotonic()
            assert (await after.send(running)).status_code == 200
            free_s = max(1.0, 4 * (time.monotonic() - began_at)) if model.startswith("whisper") else 20
            await end_in_phase(running, Cell(spec, victim, worked_on, after), "leaves", free_s=free_s)
