"""Jobs whose pictures are being read: their order, what the gateway hears of them, and how they go."""

from collections.abc import Sequence
from typing import Any

import pytest

from backends.base import JobError
from backends.llama_cpp.arrivals import Arrivals
from backends.llama_cpp.backend import PreparedMedia, PreparedPrompt
from backends.llama_cpp.encoder import Reading
from backends.llama_cpp.sequence import JobState
from backends.protocol import Failed, GenerateParameters, Job, Text


class SlowReader:
    """Reads until it is told to be done."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.warm = self.closed = False

    def begin(self, items: Sequence[PreparedPrompt]) -> Reading:
        self.readings.append(Reading())
        return self.readings[-1]

    def done(self, error: Exception | None = None) -> None:
        future = self.readings[-1].future
        future.set_exception(error) if error else future.set_result([None])

    def warm_up(self) -> None:
        self.warm = True

    def close(self) -> None:
        self.closed = True


class Maker:
    """Makes no sequences."""

    def sequences(self, state: JobState, items: Any, media: Any = None) -> list[Any]:
        return []


class Desk:
    def __init__(self) -> None:
        self.reader = SlowReader()
        self.now = 100.0
        self.arrivals = Arrivals(self.reader, lambda: self.now)
        self.announced: list[str] = []
        self.removed: list[str] = []

    def add(self, job_id: str, priority: int = 0, n: int = 1) -> None:
        job = Job(job_id, "m", "generate", GenerateParameters(n=n), [Text("")], priority=priority)
        removed = self.removed

        class Item(PreparedPrompt):
            def discard(self) -> None:
                removed.append(job_id)

        media = PreparedMedia("image", 1, 1, b"", b"")
        self.arrivals.add(JobState(job, self.now), [Item(b"", media=[media])])

    def begin(self) -> None:
        self.arrivals.begin(self.announced.append)

    def take(self) -> JobState | Failed | None:
        return self.arrivals.take(Maker(), idle=False)  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_one_is_read_after_the_other_the_most_deserving_first(desk: Desk) -> None:
    for job_id, priority in (("a", 0), ("b", 0), ("c", 1)):
        desk.add(job_id, priority)
    taken = []
    while len(desk.arrivals):
        desk.begin()
        assert desk.take() is None
        desk.begin()
        desk.reader.done()
        state = desk.take()
        assert isinstance(state, JobState)
        taken.append(state.job.id)
    assert taken == desk.announced == ["c", "a", "b"]


def test_all_answers_count_until_they_are_taken(desk: Desk) -> None:
    desk.add("a", n=3)
    desk.add("b")
    assert len(desk.arrivals) == 4
    desk.begin()
    assert len(desk.arrivals) == 4
    desk.reader.done()
    desk.take()
    assert len(desk.arrivals) == 1


@pytest.mark.parametrize(
    ("error", "kind", "param"),
    [(JobError("no", param="x"), "invalid_request", "x"), (RuntimeError("a bug"), "internal", "")],
)
def test_what_fails_fails_its_job(desk: Desk, error: Exception, kind: str, param: str) -> None:
    desk.add("a")
    desk.begin()
    desk.reader.done(error)
    failed = desk.take()
    assert isinstance(failed, Failed)
    assert (failed.job_id, failed.kind, failed.param) == ("a", kind, param)
    assert not len(desk.arrivals)


def test_jobs_can_be_dropped_in_every_phase(desk: Desk) -> None:
    for job_id in "abc":
        desk.add(job_id)
    desk.begin()
    assert desk.arrivals.drop("b")
    assert desk.removed == ["b"]
    assert desk.arrivals.drop("a")
    assert desk.reader.readings[0].given_up.is_set()
    assert not desk.arrivals.drop("a")
    desk.begin()
    assert (desk.announced, len(desk.arrivals)) == (["a"], 1), "the reader is still at the first"
    desk.reader.done()
    assert desk.take() is None
    desk.begin()
    assert desk.announced == ["a", "c"]


def test_what_nobody_reads_yet_can_be_given_back(desk: Desk) -> None:
    for job_id, priority in (("a", 1), ("b", 0), ("c", 0)):
        desk.add(job_id, priority)
    desk.begin()
    assert desk.arrivals.requeue(2) == ["c"]
    assert desk.arrivals.requeue(0) == ["b"]
    assert desk.removed == ["c", "b"]
    assert len(desk.arrivals) == 1


def test_a_reader_that_hangs_ends_the_worker(desk: Desk) -> None:
    desk.add("a")
    desk.begin()
    desk.arrivals.drop("a")
    desk.add("b")
    desk.now += 901
    with pytest.raises(RuntimeError, match="900 s"):
        desk.begin()


def test_a_model_of_text_takes_none() -> None:
    arrivals = Arrivals(None, lambda: 0.0)
    arrivals.warm_up()
    job = Job("a", "m", "generate", GenerateParameters(), [Text("")])
    with pytest.raises(JobError):
        arrivals.add(JobState(job, 0.0), [])
    arrivals.close()


def test_closing_gives_up_and_removes(desk: Desk) -> None:
    for job_id in "ab":
        desk.add(job_id)
    desk.arrivals.warm_up()
    desk.begin()
    desk.arrivals.close()
    assert desk.removed == ["b"]
    assert desk.reader.readings[0].given_up.is_set()
    assert (desk.reader.warm, desk.reader.closed) == (True, True)
