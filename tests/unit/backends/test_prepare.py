"""What the prepare helper answers, and what is left of a job that it is killed over."""

import queue
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.base import PreparedItem
from backends.media.spool import Spool
from backends.prepare import Answered, Outcome, PrepareStage, Refused, _prepare
from backends.protocol import (
    MAX_FRAME_BYTES,
    FrameBuffer,
    Inline,
    Job,
    Load,
    Media,
    Text,
    TokenizeParameters,
    TranscribeParameters,
)
from config.schema import ModelSpec


class Item(PreparedItem):
    size: int
    data: bytes = b""
    discarded: int = 0

    def discard(self) -> None:
        self.discarded += 1


class Preparer:
    def __init__(self, item: Item) -> None:
        self.item = item

    def prepare(self, job: Job) -> list[Item]:
        return [self.item]


def test_what_is_made_of_a_request_may_be_too_large() -> None:
    item = Item(1, bytes(MAX_FRAME_BYTES))
    job = Job("j", "m", "generate", TranscribeParameters(), [Text("x")])
    preparer: Any = Preparer(item)
    (body,) = FrameBuffer().feed(_prepare(preparer, job))
    refused = msgspec.msgpack.decode(body, type=Outcome)
    assert isinstance(refused, Refused)
    assert refused.code == "request_too_large"
    assert item.discarded == 1


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PrepareStage]:
    """A real helper of the scripted backend."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = ModelSpec(name="m", backend="fake", tasks=["generate"], source=__file__)
    outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
    made: Any = PrepareStage(Load(spec, __file__, "cpu", 20.0), outcomes.put)
    made.wait_ready()
    made.outcomes = outcomes
    yield made
    made.close()


def test_a_helper_that_was_ended_between_two_jobs_is_started_again(stage: Any) -> None:
    stage._process.kill()
    stage._process.wait()
    stage.submit(Job("j", "m", "tokenize", TokenizeParameters(), [Text("hi")]))
    assert isinstance(stage.outcomes.get(timeout=60), Answered)


def test_files_of_a_job_that_its_helper_is_killed_over_are_removed(
    stage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def spool() -> None:
        monkeypatch.setattr("os.getpid", lambda: stage._process.pid)
        one = Spool("media", 0)
        one.write(b"pixels")
        one.finish()
        one.close()
        monkeypatch.undo()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    spool()  # of an earlier job, which still waits for the engine
    (kept,) = tmp_path.iterdir()

    def exchange(*_: object) -> None:
        spool()
        assert len(list(tmp_path.iterdir())) == 2
        raise TimeoutError

    monkeypatch.setattr(stage, "_exchange", exchange)
    stage.submit(Job("j", "m", "transcribe", TranscribeParameters(), [Media(Inline(b"sound"))]))
    assert isinstance(stage.outcomes.get(timeout=60), Refused)
    assert list(tmp_path.iterdir()) == [kept]
