"""Loads, unloads, swaps and idle times over real worker processes."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import psutil
import pytest

from gateway.engine import errors
from gateway.engine.engine import Engine
from tests.process.fleet import (
    fake_model,
    family,
    first_text,
    read,
    ready_pid,
    running_engine,
    submit,
    until,
    worker_pids,
)

MIB = 2**20
MANY = 50
STREAMS = 20


def state(engine: Engine, model: str = "fake") -> str:
    return engine.model(model).state


async def test_many_loads_at_once_start_one_process(tmp_path: Path) -> None:
    """Row 28."""
    async with running_engine(tmp_path, fake_model(preload=False, load_ms=100)) as engine:
        await asyncio.gather(*(engine.life.load("fake") for _ in range(MANY)))
        assert state(engine) == "ready"
        assert len(worker_pids(engine)) == 1
        assert engine._scheduler.fleet.last_worker_id == 1


async def test_unloaded_means_the_process_is_gone(tmp_path: Path) -> None:
    others = set(family())
    async with running_engine(tmp_path, fake_model()) as engine:
        pid = await ready_pid(engine)
        assert await engine.life.unload("fake")
        assert state(engine) == "cold"
        assert not psutil.pid_exists(pid)
        assert not set(family()) - others
        assert await read(await submit(engine, "@tokens:2")) == "w0 w1 ", "the next request loads it"


async def test_a_load_during_an_unload_waits_for_nothing_but_room(tmp_path: Path) -> None:
    model = fake_model(step_ms=20, tokens=20, memory_bytes=100 * MIB)
    device = {"name": "cpu", "memory_bytes": 150 * MIB}
    async with running_engine(tmp_path, model, devices=[device]) as engine:
        pid = await ready_pid(engine)
        stream = await submit(engine, "long")
        began = await first_text(stream)
        unload = asyncio.create_task(engine.life.unload("fake"))
        await asyncio.sleep(0)
        await engine.life.load("fake")
        assert not psutil.pid_exists(pid), "there is room for one of them"
        assert await unload
        assert len((began + await read(stream)).split()) == 20, "nothing was cut off"
        assert len(worker_pids(engine)) == 1


async def test_a_forced_unload_ends_the_jobs(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=20, tokens=10_000)) as engine:
        stream = await submit(engine, "long")
        await first_text(stream)
        assert await engine.life.unload("fake", force=True)
        with pytest.raises(errors.ModelUnloaded):
            await read(stream)


async def test_a_load_that_cannot_work_says_why(tmp_path: Path) -> None:
    model = fake_model(preload=False, load_fault="error")
    async with running_engine(tmp_path, model) as engine:
        with pytest.raises(errors.ModelFailed, match="scripted"):
            await engine.life.load("fake")


async def test_over_budget_is_said_at_once(tmp_path: Path) -> None:
    model = fake_model(preload=False, memory_bytes=200 * MIB)
    device = {"name": "cpu", "memory_bytes": 150 * MIB}
    async with running_engine(tmp_path, model, devices=[device]) as engine:
        with pytest.raises(errors.NoRoom):
            await engine.life.load("fake")


async def test_an_idle_model_frees_its_memory(tmp_path: Path) -> None:
    others = set(family())
    async with running_engine(tmp_path, fake_model(), timeouts={"idle_ttl_s": 0.3}) as engine:
        await until(lambda: 'event="ready"' in engine._metrics.render().decode())
        await until(lambda: state(engine) == "cold")
        assert not set(family()) - others
        assert await read(await submit(engine, "@tokens:1")) == "w0 "


async def test_more_are_to_be_preloaded_than_fit(tmp_path: Path) -> None:
    """The first stays, and the other is loaded when somebody asks for it."""
    models = [fake_model(name, memory_bytes=100 * MIB, tokens=1) for name in "ab"]
    room = {"devices": [{"name": "cpu", "memory_bytes": 150 * MIB}], "placement": {"min_residency_s": 0.0}}
    async with running_engine(tmp_path, *models, **room) as engine:
        await until(lambda: engine.ready)
        assert (state(engine, "a"), state(engine, "b")) == ("ready", "cold")
        assert await read(await submit(engine, "x", model="b")) == "w0 "
        assert engine.ready
        assert state(engine, "a") == "cold"


async def test_a_swap_under_streams_fails_none_and_cuts_none(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(tokens=60, step_ms=20)) as engine:
        await ready_pid(engine)
        streams = [await submit(engine, "old") for _ in range(STREAMS)]
        began = [await first_text(stream) for stream in streams]
        await engine.life.swap(fake_model(tokens=3, load_ms=200))
        assert await read(await submit(engine, "new")) == "w0 w1 w2 "
        ended = await asyncio.gather(*map(read, streams))
        assert {len((first + rest).split()) for first, rest in zip(began, ended, strict=True)} == {60}
        await until(lambda: len(engine.model("fake").workers) == 1)
        assert engine.model("fake").version == 2


async def test_a_new_version_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(tokens=2)) as engine:
        pid = await ready_pid(engine)
        with pytest.raises(errors.ModelFailed, match="scripted"):
            await engine.life.swap(fake_model(load_fault="error"))
        with pytest.raises(errors.ModelNotPulled):
            await engine.life.swap(msgspec.structs.replace(fake_model(), source="/nowhere"))
        assert worker_pids(engine) == [pid]
        assert await read(await submit(engine, "x")) == "w0 w1 "


async def test_no_room_for_both_is_said_and_replace_does_without(tmp_path: Path) -> None:
    device = {"name": "cpu", "memory_bytes": 150 * MIB}
    async with running_engine(tmp_path, fake_model(memory_bytes=100 * MIB), devices=[device]) as engine:
        await ready_pid(engine)
        new = fake_model(memory_bytes=100 * MIB, tokens=2)
        with pytest.raises(errors.NoRoom):
            await engine.life.swap(new)
        running = asyncio.create_task(engine.life.swap(new, "replace"))
        waiting = [await submit(engine, "x") for _ in range(5)]
        assert {await read(stream) for stream in waiting} <= {"w0 w1 ", "".join(f"w{i} " for i in range(16))}
        await running
        assert await read(await submit(engine, "x")) == "w0 w1 "


async def test_many_swaps_under_load_fail_nothing_and_keep_nothing(tmp_path: Path) -> None:
    """Row 29, in short."""
    models = [fake_model(tokens=2, step_ms=1), fake_model(tokens=3, step_ms=1)]
    async with running_engine(tmp_path, models[0]) as engine:
        await ready_pid(engine)
        process = psutil.Process()
        answers: list[str] = []
        over = False

        async def load() -> None:
            while not over:
                answers.append(await read(await submit(engine, "x")))

        clients = [asyncio.create_task(load()) for _ in range(4)]
        await engine.life.swap(models[1])
        await until(lambda: len(engine.model("fake").workers) == 1)
        files = process.num_fds()
        for i in range(8):
            await engine.life.swap(models[i % 2])
        over = True
        await asyncio.gather(*clients)
        await until(lambda: len(engine.model("fake").workers) == 1)
        assert set(answers) <= {"w0 w1 ", "w0 w1 w2 "}
        assert len(answers) > 50
        assert engine.model("fake").version == 10
        assert len(engine._scheduler.fleet.versions) == len(engine._describer._located) == 1
        await until(lambda: process.num_fds() <= files)  # pipes of the last worker may still be closing


async def test_models_come_and_go(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model()) as engine:
        more = fake_model("more", tokens=1)
        engine.life.add(more, *await engine.life.describe_next(more))
        stream = await submit(engine, "x", model="more", stream=True)
        engine.life.remove("more")
        assert await read(stream) == "w0 "
        with pytest.raises(errors.ModelNotFound):
            engine.resolve("more")
        await until(lambda: {w.model for w in engine._scheduler.fleet.workers.values()} == {"fake"})


async def test_watchers_hear_what_happens(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(preload=False)) as engine:
        with engine.watch() as watcher:
            await engine.life.load("fake")
            await engine.life.swap(fake_model(tokens=1))
            await engine.life.unload("fake")
            await until(lambda: not engine._scheduler.fleet.workers)
            heard = await watcher.next()
    told = [event.event for event in heard]
    assert told[:5] == ["state", "loading", "progress", "progress", "ready"]
    assert told[5:11] == ["swapping", "loading", "progress", "progress", "ready", "swapped"]
    assert sorted(told[11:]) == ["unloaded", "unloaded", "unloading"]
    assert {event.reason for event in heard if event.event == "unloaded"} == {
        "replaced by version 2",
        "unloaded on request",
    }
    assert heard[-1].state == "cold"


async def test_a_model_that_is_removed_while_others_are_preloaded_keeps_none_from_it(tmp_path: Path) -> None:
    models = [fake_model("a", load_ms=500), fake_model("b"), fake_model("c")]
    async with running_engine(tmp_path, *models) as engine:
        await until(lambda: state(engine, "a") == "starting")
        engine.life.remove("b")
        await until(lambda: state(engine, "c") == "ready")
        assert engine.ready


async def test_what_was_learned_of_the_weights_holds_for_the_next_version_too(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(ballast_bytes=30 * MIB)) as engine:
        await ready_pid(engine)
        models = engine._scheduler.fleet.models
        await until(lambda: models["fake"].learned_bytes.get("cpu", 0) > 30 * MIB)
        await engine.life.reload("fake")
        assert models["fake"].version == 2
        assert models["fake"].learned_bytes["cpu"] > 30 * MIB
        (worker,) = models["fake"].workers.values()
        assert worker.shares[0].memory_bytes > 30 * MIB


async def test_a_worker_that_ends_by_a_signal_without_a_name_is_replaced(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(tokens=2)) as engine:
        pid = await ready_pid(engine)
        os.kill(pid, signal.SIGRTMIN + 6)
        await until(lambda: pid not in worker_pids(engine))
        assert await read(await submit(engine, "x")) == "w0 w1 "
