"""Models that take turns in memory that does not hold them all: real workers that really take it."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from config.schema import ModelSpec
from gateway.engine import errors
from gateway.engine.engine import Engine
from gateway.engine.events import ModelWanted
from gateway.engine.launcher.memory import children, group_memory, wait_gone
from tests.process.fleet import (
    fake_model,
    first_text,
    read,
    ready_pid,
    running_engine,
    submit,
    until,
    worker_pids,
)

MIB = 1024 * 1024


def loaded_by_request(name: str, **parameters: Any) -> ModelSpec:
    return fake_model(name, preload=False, **parameters)


@asynccontextmanager
async def small_engine(
    folder: Path, *models: ModelSpec, mib: int, **placement: float
) -> AsyncIterator[Engine]:
    devices = [{"name": "cpu", "memory_bytes": mib * MIB}]
    placement = {"min_residency_s": 0.0} | placement
    async with running_engine(folder, *models, devices=devices, placement=placement) as engine:
        yield engine


@contextmanager
def watched_peak() -> Iterator[list[int]]:
    """The most that children which begin from here on hold together, by a look every few milliseconds."""
    peak = [0]
    others = set(children(os.getpid()))

    async def watch() -> None:
        while True:
            peak[0] = max(peak[0], await asyncio.to_thread(_held_by_children, others))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(watch())
    yield peak
    task.cancel()


def _held_by_children(others: set[int]) -> int:
    return sum(group_memory(pid).bytes for pid in set(children(os.getpid())) - others)


def metric(engine: Engine, name: str, model: str) -> float:
    line = f'llm_cortex_{name}{{model="{model}"}} '
    return float(engine._metrics.render().decode().split(line)[1].split()[0])


async def test_three_models_take_turns_where_two_have_room(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    models = [loaded_by_request(name, memory_bytes=140 * MIB, ballast_bytes=100 * MIB) for name in names]
    turns = [*names, *random.Random(7).choices(names, k=6)]
    async with small_engine(tmp_path, *models, mib=300) as engine:
        with watched_peak() as peak:
            for name in turns:
                assert await read(await submit(engine, "@tokens:1", model=name)) == "w0 "
        assert 200 * MIB < peak[0] <= 300 * MIB, "two at a time, and what has left is back before the next"
        swaps = sum(metric(engine, "model_turns_total", name) for name in names)
        evictions = sum(metric(engine, "model_evictions_total", name) for name in names)
        loads = sum(
            float(line.split()[-1])
            for line in engine._metrics.render().decode().splitlines()
            if "model_loads_total{" in line
        )
        assert 1 <= swaps == evictions == loads - 2
        assert "llm_cortex_memory_unreturned_total 0.0" in engine._metrics.render().decode()


async def test_all_three_at_once_are_answered_too(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    models = [loaded_by_request(name, memory_bytes=100 * MIB, step_ms=2) for name in names]
    async with small_engine(tmp_path, *models, mib=250, yield_after_s=0.2) as engine:
        for name in names:
            await engine.description(name)
        streams = [await submit(engine, "@tokens:20", model=name) for name in names * 10]
        async with asyncio.timeout(20):
            texts = await asyncio.gather(*(read(stream) for stream in streams))
        assert all(len(text.split()) == 20 for text in texts)


async def test_a_model_that_never_rests_makes_way(tmp_path: Path) -> None:
    models = [loaded_by_request(name, memory_bytes=100 * MIB, step_ms=5) for name in ("busy", "other")]
    async with small_engine(tmp_path, *models, mib=150, yield_after_s=0.3) as engine:
        ended = asyncio.Event()

        async def keep_busy() -> None:
            while not ended.is_set():
                await read(await submit(engine, "@tokens:20", model="busy"))

        clients = [asyncio.create_task(keep_busy()) for _ in range(4)]
        await ready_pid(engine, "busy")
        async with asyncio.timeout(10):
            assert await read(await submit(engine, "@tokens:1", model="other")) == "w0 "
        ended.set()
        async with asyncio.timeout(10):
            await asyncio.gather(*clients)


async def test_a_busy_model_is_waited_for_no_longer_than_a_request_waits(tmp_path: Path) -> None:
    models = [loaded_by_request(name, memory_bytes=100 * MIB, step_ms=20) for name in ("busy", "other")]
    devices = [{"name": "cpu", "memory_bytes": 150 * MIB}]
    async with running_engine(tmp_path, *models, devices=devices, timeouts={"queue_s": 0.5}) as engine:
        await engine.description("busy")
        engine._post(ModelWanted("busy"))
        await ready_pid(engine, "busy")
        stream = await submit(engine, "@tokens:10000", model="busy")
        await first_text(stream)
        with pytest.raises(errors.NoRoom) as caught:
            await read(await submit(engine, "x", model="other"))
        assert caught.value.retry_after_s
        stream.abort()


async def test_a_model_larger_than_the_machine_is_refused_at_once(tmp_path: Path) -> None:
    model = loaded_by_request("fake", memory_bytes=200 * MIB)
    async with small_engine(tmp_path, model, mib=150) as engine:
        with pytest.raises(errors.NoRoom):
            await submit(engine, "x")
        assert not worker_pids(engine)


async def test_a_load_without_memory_is_tried_once_more_after_evicting(tmp_path: Path) -> None:
    room = str(tmp_path / "room")
    models = [loaded_by_request(name, room_file=room) for name in ("a", "b")]
    async with running_engine(tmp_path, *models, placement={"min_residency_s": 0}) as engine:
        for name in ("a", "b", "a"):
            assert await read(await submit(engine, "@tokens:1", model=name)) == "w0 "
        assert metric(engine, "model_evictions_total", "a") == 1
        assert metric(engine, "model_evictions_total", "b") == 1


async def test_a_load_without_memory_fails_where_nobody_can_leave(tmp_path: Path) -> None:
    room = str(tmp_path / "room")
    models = [loaded_by_request(name, room_file=room, step_ms=5) for name in ("a", "b")]
    async with running_engine(tmp_path, *models, placement={"min_residency_s": 0}) as engine:
        stream = await submit(engine, "@tokens:10000", model="a")
        await first_text(stream)
        with pytest.raises(errors.NoRoom):
            await read(await submit(engine, "x", model="b"))
        stream.abort()


async def test_what_was_measured_predicts_the_next_load(tmp_path: Path) -> None:
    model = fake_model(memory_bytes=1, ballast_bytes=50 * MIB)
    async with running_engine(tmp_path, model) as engine:
        await ready_pid(engine)
        await until(lambda: metric(engine, "model_memory_measured_bytes", "fake") > 50 * MIB)
    async with running_engine(tmp_path, model) as engine:
        await engine.description("fake")
        assert metric(engine, "model_memory_predicted_bytes", "fake") > 50 * MIB


async def test_a_group_is_gone_when_its_last_process_is(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model()) as engine:
        pid = await ready_pid(engine)
        assert not await asyncio.to_thread(wait_gone, pid, 0.05)
        engine.kill()
        assert await asyncio.to_thread(wait_gone, pid, 5)
        assert group_memory(pid).bytes == 0
