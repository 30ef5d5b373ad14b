"""What leaves a worker: frames that hold it, whatever its size."""

from typing import Any

import pytest

from backends.base import JobError, PreparedItem
from backends.protocol import (
    MAX_FRAME_BYTES,
    Capacity,
    Failed,
    Finished,
    Frame,
    GenerateParameters,
    GenerationResult,
    ItemDone,
    Job,
    Message,
    Output,
    StepStats,
    Text,
    encode_frame,
)
from backends.serve import Worker

CAPACITY = Capacity(1, -1, 0, 0)
STATS = StepStats(step_s=1.0, batch_items=3)


class Item(PreparedItem):
    discarded: bool = False

    def discard(self) -> None:
        self.discarded = True


class Wire:
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def send(self, message: Message) -> None:
        encode_frame(message)
        assert isinstance(message, Frame)
        self.frames.append(message)


class Engine:
    def __init__(self) -> None:
        self.aborted: list[str] = []

    def abort(self, job_id: str) -> bool:
        self.aborted.append(job_id)
        return True

    def add(self, job: Job, items: list[Item]) -> None:
        raise {"wrong": JobError("no such voice", param="voice"), "bug": KeyError("x")}[job.id]


@pytest.fixture
def worker() -> Any:
    made: Any = Worker(Wire())  # type: ignore[arg-type]
    made._engine = Engine()
    return made


def done(job_id: str, size: int) -> ItemDone:
    return ItemDone(job_id, 0, GenerationResult("x" * size, "stop", 1, 1))


def test_what_is_too_much_for_one_frame_goes_in_several(worker: Any) -> None:
    outputs: list[Output] = []
    for name in "abcdef":
        outputs += [done(name, MAX_FRAME_BYTES // 3), Finished(name)]
    worker._send_outputs(outputs, CAPACITY, STATS)
    frames = worker._channel.frames
    assert [output for frame in frames for output in frame.outputs] == outputs
    assert len(frames) > 1
    assert [frame.stats.batch_items for frame in frames] == [0] * (len(frames) - 1) + [3], "counted once"
    assert worker._engine.aborted == []


def test_an_answer_that_no_frame_holds_fails_alone(worker: Any) -> None:
    outputs = [done("a", 10), done("huge", MAX_FRAME_BYTES + 1), Finished("huge"), done("b", 10)]
    worker._send_outputs(outputs, CAPACITY, STATS)
    sent = [output for frame in worker._channel.frames for output in frame.outputs]
    (failed,) = (output for output in sent if isinstance(output, Failed))
    assert (failed.job_id, failed.kind, failed.code) == ("huge", "invalid_request", "answer_too_large")
    assert [output for output in sent if output is not failed] == [outputs[0], outputs[2], outputs[3]]
    assert worker._engine.aborted == ["huge"]


@pytest.mark.parametrize(("name", "kind"), [("wrong", "invalid_request"), ("bug", "internal")])
def test_a_job_that_cannot_be_taken_on_fails_alone(worker: Any, name: str, kind: str) -> None:
    item = Item()
    worker._add(Job(name, "m", "generate", GenerateParameters(), [Text("x")]), [item])
    (failed,) = worker._outputs
    assert (failed.job_id, failed.kind) == (name, kind)
    assert item.discarded
