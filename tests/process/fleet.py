"""An engine over fake models for the process tests, and what can be seen of it from outside."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import psutil

from backends.protocol import Delta, EmbedParameters, Finished, GenerateParameters, Job, Output, Text
from config.schema import Config, ModelSpec
from gateway.engine.engine import Engine
from gateway.engine.stream import JobStream
from gateway.telemetry.metrics import Metrics
from gateway.weights.store import WeightsStore

_ids = count(1)


def fake_model(
    name: str = "fake", *, batch: bool = False, preload: bool = True, **parameters: Any
) -> ModelSpec:
    return ModelSpec(
        name=name,
        backend="fake_batch" if batch else "fake",
        tasks=["embed" if batch else "generate"],
        source=__file__,
        parameters=parameters,
        preload=preload,
    )


@asynccontextmanager
async def running_engine(cache_dir: Path, *models: ModelSpec, **settings: Any) -> AsyncIterator[Engine]:
    """An engine that serves `models`; `settings` are sections of the configuration as plain data."""
    config = msgspec.convert(settings, Config)
    config = msgspec.structs.replace(config, models=list(models))
    engine = Engine(config, WeightsStore(cache_dir), Metrics(), cache_dir)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


async def submit(
    engine: Engine, text: str, *, model: str = "fake", stream: bool = True, **settings: Any
) -> JobStream:
    await engine.description(model)
    spec = engine.resolve(model)
    embeds = spec.tasks == ["embed"]
    job = Job(
        f"job-{next(_ids)}",
        spec.name,
        spec.tasks[0],
        EmbedParameters() if embeds else GenerateParameters(),
        [Text(part) for part in text.split("|")],
        stream,
        **settings,
    )
    return engine.submit(job)


async def read(stream: JobStream) -> str:
    """All of a streamed text. Raises the job's GatewayError."""
    text = ""
    while True:
        outputs = await stream.next()
        text += text_of(outputs)
        if any(isinstance(output, Finished) for output in outputs):
            return text


async def first_text(stream: JobStream) -> str:
    """What has come of it as soon as something has: one word, or more where this process was held up."""
    return text_of(await stream.next())


def text_of(outputs: Iterable[Output]) -> str:
    return "".join(output.text for output in outputs if isinstance(output, Delta))


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> float:
    """Wait for something outside our control; seconds it took. Raises TimeoutError."""
    started_at = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - started_at


def worker_pids(engine: Engine, model: str = "fake") -> list[int]:
    """Process ids of the model's ready workers."""
    status = next(status for status in engine.models() if status.spec.name == model)
    return [worker.pid for worker in status.workers if worker.state == "ready"]


async def ready_pid(engine: Engine, model: str = "fake") -> int:
    await until(lambda: bool(worker_pids(engine, model)))
    return worker_pids(engine, model)[0]


def running(engine: Engine, model: str = "fake") -> int:
    return next(gauges.running for gauges in engine._gauges() if gauges.model == model)


def family() -> list[psutil.Process]:
    """Every descendant of this process that is not a zombie."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
