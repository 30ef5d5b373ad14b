"""The engine over real worker processes that follow a script."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from backends.protocol import EmbeddingResult, GenerationResult
from gateway.engine import errors
from gateway.engine.engine import Engine
from tests.process.fleet import (
    fake_model,
    family,
    first_text,
    read,
    ready_pid,
    running,
    running_engine,
    submit,
    until,
    worker_pids,
)


async def test_a_job_streams_to_its_end(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(tokens=3)) as engine:
        assert await read(await submit(engine, "hello")) == "w0 w1 w2 "


async def test_a_job_without_a_stream_gives_results_in_item_order(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model()) as engine:
        stream = await submit(engine, "@tokens:4|@tokens:1", stream=False)
        results, finished = await stream.results()
        assert [r.text for r in results if isinstance(r, GenerationResult)] == ["w0 w1 w2 w3 ", "w0 "]
        assert finished.timings.prepare_s > 0


async def test_items_of_many_jobs_share_a_batch(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(batch=True, step_ms=300)) as engine:
        await ready_pid(engine)
        streams = [await submit(engine, f"text {i}", stream=False) for i in range(20)]
        for stream in streams:
            (result,), _ = await stream.results()
            assert isinstance(result, EmbeddingResult)
            assert result.dimensions == 8
        rendered = engine._metrics.render().decode()
        batches = float(rendered.split('llm_cortex_batch_size_count{model="fake"} ')[1].split()[0])
        assert batches <= 4


async def test_a_failing_item_fails_alone(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(batch=True, step_ms=30)) as engine:
        await ready_pid(engine)
        good = [await submit(engine, f"text {i}", stream=False) for i in range(4)]
        bad = await submit(engine, "text @error", stream=False)
        more = [await submit(engine, f"more {i}", stream=False) for i in range(4)]
        with pytest.raises(errors.InternalError):
            await bad.results()
        for stream in good + more:
            assert len((await stream.results())[0]) == 1


async def test_a_step_engine_fails_one_job_alone(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=2)) as engine:
        good = await submit(engine, "@tokens:20")
        bad = await submit(engine, "@error:3")
        with pytest.raises(errors.InternalError):
            await read(bad)
        assert len((await read(good)).split()) == 20


async def test_a_poison_request_kills_two_workers_at_most(tmp_path: Path) -> None:
    """Row 6."""
    async with running_engine(tmp_path, fake_model()) as engine:
        stream = await submit(engine, "@die:0", stream=False)
        with pytest.raises(errors.PoisonRequest) as caught:
            await stream.results()
        assert caught.value.should_retry is False
        deaths = engine._metrics.render().decode()
        assert 'worker_events_total{event="died",model="fake"} 2.0' in deaths


async def test_a_request_is_not_blamed_for_workers_that_somebody_stopped(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=10), timeouts={"step_s": 2}) as engine:
        stream = await submit(engine, "@tokens:1000", stream=False)
        for _ in range(2):
            pid = await ready_pid(engine)
            await until(lambda: running(engine) == 1)
            os.kill(pid, signal.SIGSTOP)
            await until(lambda pid=pid: pid not in worker_pids(engine))  # type: ignore[misc]
        with pytest.raises(errors.WorkerDied) as caught:
            await stream.results()
        assert caught.value.retry_after_s, "it may be asked again"


async def test_a_worker_that_steps_without_outputs_is_not_hung(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=100), timeouts={"step_s": 0.5}) as engine:
        stream = await submit(engine, "@tokens:12", stream=False)
        (result,), _ = await stream.results()
        assert isinstance(result, GenerationResult)
        assert result.completion_tokens == 12


async def test_a_bug_in_step_is_a_worker_death(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model()) as engine:
        with pytest.raises(errors.WorkerDied):
            await read(await submit(engine, "@raise:2"))
        assert await read(await submit(engine, "@tokens:1")) == "w0 "


async def test_a_crash_loop_ends_in_the_failed_state(tmp_path: Path) -> None:
    """Row 5: with back-off, and then 503 at once."""
    async with running_engine(tmp_path, fake_model(load_fault="die", preload=False)) as engine:
        stream = await submit(engine, "never", stream=False)
        await until(lambda: events(engine, "started") == 1)
        assert await until(lambda: events(engine, "started") == 2, 30) >= 0.9
        assert await until(lambda: events(engine, "started") == 3, 30) >= 1.9
        stream.abort()


def events(engine: Engine, event: str) -> float:
    """What has happened to workers of `fake`."""
    lines = engine._metrics.render().decode().splitlines()
    label = f'worker_events_total{{event="{event}",model="fake"}} '
    return next((float(line.rpartition(" ")[2]) for line in lines if label in line), 0.0)


async def test_broken_weights_fail_at_once(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(load_fault="error", preload=False)) as engine:
        with pytest.raises(errors.ModelFailed, match="broken as scripted"):
            await read(await submit(engine, "x"))
        with pytest.raises(errors.ModelFailed) as caught:
            await submit(engine, "y")
        assert caught.value.retry_after_s


async def test_a_hanging_load_is_ended(tmp_path: Path) -> None:
    """Row 7."""
    flag = tmp_path / "fault"
    flag.touch()
    model = fake_model(load_fault="hang", fault_file=str(flag))
    async with running_engine(tmp_path, model, timeouts={"load_s": 3.0}) as engine:
        stream = await submit(engine, "@tokens:1")
        await until(lambda: events(engine, "died") == 1, 30)
        flag.unlink()
        assert await read(stream) == "w0 "


@pytest.mark.parametrize(
    ("text", "code"), [("@prepare-refuse", "scripted"), ("@prepare-hang", "prepare_timeout")]
)
async def test_prepare_faults_are_the_requests_own(tmp_path: Path, text: str, code: str) -> None:
    async with running_engine(tmp_path, fake_model(), timeouts={"prepare_s": 1.5}) as engine:
        with pytest.raises(errors.BadRequest) as caught:
            await read(await submit(engine, text))
        assert caught.value.code == code
        assert await read(await submit(engine, "@tokens:1")) == "w0 "


async def test_a_long_preparation_is_no_hang(tmp_path: Path) -> None:
    """Recordings and pictures may be decoded for longer than a step may take."""
    limits = {"prepare_s": 5.0, "step_s": 2.5}
    async with running_engine(tmp_path, fake_model(), timeouts=limits) as engine:
        pid = await ready_pid(engine)
        with pytest.raises(errors.BadRequest) as caught:
            await read(await submit(engine, "@prepare-hang"))
        assert caught.value.code == "prepare_timeout"
        assert worker_pids(engine) == [pid]


async def test_a_crash_in_prepare_fails_that_job_alone(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=5)) as engine:
        pid = await ready_pid(engine)
        neighbour = await submit(engine, "@tokens:40")
        with pytest.raises(errors.InternalError):
            await read(await submit(engine, "@prepare-die"))
        assert len((await read(neighbour)).split()) == 40
        assert await ready_pid(engine) == pid


@pytest.mark.parametrize("phase", ["queued", "preparing", "running"])
async def test_leaving_frees_the_place(tmp_path: Path, phase: str) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=10, max_sequences=1, tokens=10_000)) as engine:
        first = await submit(engine, "first")
        await first_text(first)
        stream = await submit(engine, "@prepare-hang" if phase == "preparing" else "second")
        if phase == "running":
            first.abort()
            await first_text(stream)
            first = stream
        else:
            stream.abort()
            with pytest.raises(errors.GatewayError):
                await read(stream)
            await until(lambda: running(engine) == 1, 10)
            assert "w" in (await first.next())[0].text
        first.abort()
        assert await until(lambda: running(engine) == 0) < 5
        assert not engine._open


async def test_queue_bounds(tmp_path: Path) -> None:
    model = fake_model(step_ms=10, max_sequences=1, tokens=10_000)
    async with running_engine(tmp_path, model, limits={"queued_jobs_per_model": 5}) as engine:
        await ready_pid(engine)
        streams = [await submit(engine, str(i)) for i in range(8)]  # one runs, two are ahead, five wait
        with pytest.raises(errors.QueueFull) as caught:
            await submit(engine, "one more")
        assert caught.value.retry_after_s
        for stream in streams:
            stream.abort()


async def test_a_key_has_its_own_bound(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(step_ms=10), limits={"jobs_per_key": 2}) as engine:
        streams = [await submit(engine, "@tokens:1000") for _ in range(2)]
        with pytest.raises(errors.LimitExceeded):
            await submit(engine, "third")
        for stream in streams:
            stream.abort()


async def test_waiting_and_running_have_deadlines(tmp_path: Path) -> None:
    model = fake_model(step_ms=10, max_sequences=1, tokens=10_000)
    async with running_engine(tmp_path, model, timeouts={"queue_s": 0.5}) as engine:
        await ready_pid(engine)
        blockers = [await submit(engine, "blocker") for _ in range(3)]
        with pytest.raises(errors.QueueTimeout):
            await read(await submit(engine, "late"))
        with pytest.raises(errors.RequestTimeout):
            await read(await submit(engine, "slow", timeout_s=0.3))
        for stream in blockers:
            stream.abort()


async def test_fifty_requests_load_one_process(tmp_path: Path) -> None:
    """Row 28."""
    async with running_engine(tmp_path, fake_model(preload=False, load_ms=100)) as engine:
        streams = await asyncio.gather(*(submit(engine, "@tokens:1") for _ in range(50)))
        assert await asyncio.gather(*(read(stream) for stream in streams)) == ["w0 "] * 50
        assert 'event="started",model="fake"} 1.0' in engine._metrics.render().decode()


async def test_nothing_is_left_after_stop(tmp_path: Path) -> None:
    others = set(family())
    async with running_engine(tmp_path, fake_model(step_ms=10)) as engine:
        await first_text(await submit(engine, "@tokens:1000"))
        assert len(set(family()) - others) >= 2, "a worker and its helper"
    assert not set(family()) - others


async def test_missing_weights_name_the_command_and_are_found_once_they_are_there(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    model = msgspec.structs.replace(fake_model(), source=str(weights))
    async with running_engine(tmp_path, model) as engine:
        with pytest.raises(errors.ModelNotPulled) as caught:
            await submit(engine, "x")
        assert str(weights) in caught.value.message
        weights.touch()
        assert await read(await submit(engine, "@tokens:1")) == "w0 "


async def test_what_no_frame_to_a_worker_holds_is_refused(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(), limits={"json_body_bytes": 64 << 20}) as engine:
        with pytest.raises(errors.BadRequest, match="16 MiB"):
            await submit(engine, "x" * (17 << 20))
        assert await read(await submit(engine, "@tokens:1")) == "w0 "
