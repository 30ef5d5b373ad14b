"""A batch engine run in steps: sharing, faults of one item, aborts."""

from collections.abc import Sequence
from typing import Any

from backends.base import BatchEngine, JobError, OutOfMemory, PreparedItem
from backends.batch_runner import BatchRunner
from backends.protocol import (
    EmbeddingResult,
    EmbedParameters,
    Failed,
    Finished,
    ItemDone,
    Job,
    Output,
    Result,
    Text,
)


class Item(PreparedItem):
    name: str


class Recorder(BatchEngine[Item]):
    """Notes every batch; fails those that hold a bad item."""

    max_batch_cost = 100
    max_batch_items = 4

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def warm_up(self) -> None:
        self.batches.append(["warm"])

    def forward(self, job_parameters: Sequence[Any], items: Sequence[Item]) -> list[Result]:
        self.batches.append([item.name for item in items])
        for item in items:
            if item.name == "refused":
                raise JobError("refused", param="input")
            if item.name == "big":
                raise OutOfMemory("no room")
            if item.name == "bad":
                raise RuntimeError("secret details")
        return [EmbeddingResult(item.name.encode(), 1, 1) for item in items]


class Bench:
    def __init__(self) -> None:
        self.engine = Recorder()
        self.now = 100.0
        self.runner = BatchRunner(self.engine, lambda: self.now)
        self.announced: list[str] = []
        self.runner.announce = self.announced.append

    def add(self, job_id: str, *names: str, priority: int = 0) -> None:
        texts = [Text(name) for name in names]
        job = Job(job_id, "m", "embed", EmbedParameters(), list(texts), priority=priority)
        self.runner.add(job, [Item(name) for name in names])

    def run(self) -> list[Output]:
        outputs: list[Output] = []
        while self.runner.has_work():
            outputs += self.runner.step()
        return outputs


def test_items_of_many_jobs_share_a_call() -> None:
    bench = Bench()
    bench.add("a", "1", "2")
    bench.add("b", "3")
    outputs = bench.run()
    assert bench.engine.batches == [["1", "2", "3"]]
    assert [o.job_id for o in outputs if isinstance(o, Finished)] == ["a", "b"]
    assert bench.announced == ["a", "b"]
    assert bench.runner.stats().batch_items == 3


def test_a_job_larger_than_a_batch_ends_once() -> None:
    bench = Bench()
    bench.add("a", *map(str, range(10)))
    outputs = bench.run()
    assert [o.item for o in outputs if isinstance(o, ItemDone)] == list(range(10))
    assert isinstance(outputs[-1], Finished)
    assert bench.announced == ["a"]


def test_a_bad_item_fails_its_job_alone_and_tells_no_details() -> None:
    bench = Bench()
    bench.add("good", "1")
    bench.add("fails", "2", "bad", "3")
    bench.add("fine", "4")
    outputs = bench.run()
    assert {o.job_id for o in outputs if isinstance(o, Finished)} == {"good", "fine"}
    (failed,) = [o for o in outputs if isinstance(o, Failed)]
    assert (failed.job_id, failed.kind) == ("fails", "internal")
    assert "secret" not in failed.message


def test_the_kinds_of_failure() -> None:
    bench = Bench()
    bench.add("r", "refused")
    bench.add("b", "big")
    failures = {o.job_id: (o.kind, o.param) for o in bench.run() if isinstance(o, Failed)}
    assert failures == {"r": ("invalid_request", "input"), "b": ("out_of_memory", "")}


def test_an_aborted_job_is_not_computed() -> None:
    bench = Bench()
    bench.add("a", "1")
    bench.add("b", "2")
    assert bench.runner.abort("a")
    assert not bench.runner.abort("a")
    bench.run()
    assert bench.engine.batches == [["2"]]


def test_unstarted_jobs_can_be_handed_back() -> None:
    bench = Bench()
    bench.add("a", *map(str, range(6)))
    bench.add("b", "x")
    bench.runner.step()
    assert bench.runner.requeue(0) == ["b"]
    assert bench.runner.capacity().queued == 2


def test_a_larger_priority_goes_first() -> None:
    bench = Bench()
    bench.add("low", *"abcd", priority=-1)
    bench.add("high", *"efgh", priority=1)
    bench.run()
    assert bench.engine.batches == [list("efgh"), list("abcd")]


def test_no_priority_goes_before_what_waits_for_long() -> None:
    bench = Bench()
    bench.add("low", *"abcd", priority=-1)
    bench.now += 2.5
    bench.add("high", *"efgh", priority=1)
    bench.run()
    assert bench.engine.batches == [list("abcd"), list("efgh")]
