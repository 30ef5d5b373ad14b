"""What the submitter of a job reads."""

import asyncio

import pytest

from backends.protocol import Delta, Finished, GenerateParameters, GenerationResult, ItemDone, Job, Text
from gateway.engine.errors import WorkerDied
from gateway.engine.stream import JobStream

JOB = Job("j", "m", "generate", GenerateParameters(), [Text("a"), Text("b")])
DONE = [ItemDone("j", i, GenerationResult(f"text {i}", "stop", 1, 1)) for i in range(2)]


class Recorder:
    def __init__(self) -> None:
        self.aborted: list[tuple[str, str]] = []
        self.stream = JobStream(JOB, lambda job_id, reason: self.aborted.append((job_id, reason)))


async def test_outputs_come_together_and_in_order() -> None:
    stream = Recorder().stream
    waiting = asyncio.create_task(stream.next())
    await asyncio.sleep(0)
    stream.push(Delta("j", 0, "x"))
    stream.push(Delta("j", 0, "y"))
    assert [output.text for output in await waiting if isinstance(output, Delta)] == ["x", "y"]


async def test_results_are_ordered_by_item() -> None:
    stream = Recorder().stream
    for output in (*reversed(DONE), Finished("j")):
        stream.push(output)
    results, _ = await stream.results()
    assert [result.text for result in results if isinstance(result, GenerationResult)] == ["text 0", "text 1"]


async def test_a_replay_voids_what_nobody_has_seen() -> None:
    stream = Recorder().stream
    stream.push(ItemDone("j", 0, GenerationResult("old", "stop", 1, 1)))
    stream.replay()
    for output in (*DONE, Finished("j")):
        stream.push(output)
    results, _ = await stream.results()
    assert isinstance(results[0], GenerationResult)
    assert results[0].text == "text 0"


async def test_a_failure_comes_after_the_outputs_before_it() -> None:
    stream = Recorder().stream
    stream.push(Delta("j", 0, "x"))
    stream.fail(WorkerDied("gone"))
    assert len(await stream.next()) == 1
    with pytest.raises(WorkerDied):
        await stream.next()


async def test_a_failure_wakes_the_reader() -> None:
    stream = Recorder().stream
    waiting = asyncio.create_task(stream.results())
    await asyncio.sleep(0)
    stream.fail(WorkerDied("gone"))
    with pytest.raises(WorkerDied):
        await waiting


async def test_leaving_early_aborts_and_leaving_late_does_not() -> None:
    recorder = Recorder()
    async with recorder.stream:
        pass
    assert recorder.aborted == [("j", "client disconnected")]
    ended = Recorder()
    async with ended.stream:
        ended.stream.end()
    assert ended.aborted == []
