"""Sessions above an engine for recordings that the test plays."""

from typing import Any

import pytest

from backends.base import JobError, StepEngine
from backends.protocol import (
    Capacity,
    Clear,
    Cleared,
    Commit,
    Committed,
    EndInput,
    Failed,
    Feed,
    Finished,
    ItemDone,
    Job,
    Output,
    Reconfigure,
    SessionParameters,
    StepStats,
    TranscriptionResult,
    TurnDone,
    TurnFailed,
    TurnText,
    VoiceActivity,
)
from backends.whisper.live import LiveWhisper
from backends.whisper.prepare import RecordingItem


class Below(StepEngine[RecordingItem]):
    """Hears nothing until it is told what."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[Job, RecordingItem]] = {}
        self.added: list[Job] = []
        self.aborted: list[str] = []
        self.outputs: list[Output] = []

    def warm_up(self) -> None: ...

    def add(self, job: Job, items: list[RecordingItem]) -> None:
        self.jobs[job.id] = (job, items[0])
        self.added.append(job)

    def step(self) -> list[Output]:
        outputs, self.outputs = self.outputs, []
        return outputs

    def abort(self, job_id: str) -> bool:
        self.aborted.append(job_id)
        return self.jobs.pop(job_id, None) is not None

    def has_work(self) -> bool:
        return bool(self.jobs or self.outputs)

    def capacity(self) -> Capacity:
        return Capacity(1, -1, 0, 0)

    def stats(self) -> StepStats:
        return StepStats()

    def hear(self, text: str) -> None:
        """The one recording that waits has this text."""
        ((job_id, (_, item)),) = self.jobs.items()
        result = TranscriptionResult(text, "en", item.samples / 16000)
        self.outputs += [ItemDone(job_id, 0, result), Finished(job_id)]
        del self.jobs[job_id]


class Loud:
    def feed(self, samples: Any) -> list[float]:
        return [float(bool(samples[start : start + 512].any())) for start in range(0, len(samples), 512)]


class Stage:
    def __init__(self, activity: VoiceActivity | None = None) -> None:
        self.below = Below()
        self.engine = LiveWhisper(self.below, lambda text: list(range(len(text))), Loud)
        self.parameters = SessionParameters(16000, prompt="hint", voice_activity=activity)
        self.engine.open_session(Job("s", "m", "listen", self.parameters, [], stream=True))

    def feed(self, seconds: float, *, loud: bool = True) -> list[Output]:
        sample = b"\1\1" if loud else b"\0\0"
        self.engine.take_input(Feed("s", sample * int(seconds * 16000)))
        return self.engine.step()

    def commit(self) -> list[Output]:
        self.engine.take_input(Commit("s"))
        return self.engine.step()

    def heard(self, text: str) -> list[Output]:
        self.below.hear(text)
        return self.engine.step()


def test_a_turn_is_heard_like_a_recording_with_the_session_s_prompt() -> None:
    stage = Stage()
    stage.feed(0.5)
    assert stage.commit() == [Committed("s", 0)]
    ((job, item),) = stage.below.jobs.values()
    assert (job.task, item.samples, item.prompt) == ("transcribe", 8000, [0, 1, 2, 3])
    assert stage.engine.backlog_bytes("s") == 16000
    assert stage.heard("hello") == [TurnDone("s", 0, "hello", 0.5, "en")]
    assert stage.engine.backlog_bytes("s") == 0
    assert not stage.engine.has_work()


def test_while_one_speaks_stable_text_goes_out() -> None:
    stage = Stage()
    stage.engine._sessions["s"].next_partial_at = 0
    stage.feed(1.5)
    assert stage.heard("one two") == []
    stage.engine._sessions["s"].next_partial_at = 0
    stage.feed(1.5)
    assert stage.heard("one two three") == [TurnText("s", 0, "one two")]
    stage.commit()
    assert stage.heard("One two three.")[-1] == TurnDone("s", 0, "one two three.", 3.0, "en")


def test_hypotheses_are_no_more_often_than_audio_comes() -> None:
    stage = Stage()
    for _ in range(9):
        stage.feed(0.1)
    assert stage.below.added == []
    stage.feed(0.2)
    assert len(stage.below.added) == 1
    stage.feed(5)
    assert len(stage.below.added) == 1


def test_a_hypothesis_gives_way_to_the_end_of_the_turn() -> None:
    stage = Stage()
    stage.feed(1.5)
    (partial,) = stage.below.jobs
    stage.commit()
    assert stage.below.aborted == [partial]
    assert list(stage.below.jobs) != [partial]
    assert isinstance(stage.heard("done")[0], TurnDone)


def test_nothing_is_said_of_a_turn_that_was_cleared_meanwhile() -> None:
    stage = Stage()
    stage.feed(1.5)
    stage.heard("one two three")
    stage.engine._sessions["s"].next_partial_at = 0
    stage.feed(1.5)
    stage.engine.take_input(Clear("s"))
    assert stage.engine.step() == [Cleared("s")]
    assert stage.heard("one two three four") == []


def test_turns_are_heard_in_order() -> None:
    stage = Stage()
    stage.feed(0.5)
    stage.commit()
    stage.feed(0.7)
    stage.commit()
    assert [type(output) for output in stage.heard("first")] == [TurnDone]
    assert stage.heard("second") == [TurnDone("s", 1, "second", pytest.approx(0.7), "en")]


def test_a_failure_below_fails_the_turn_alone() -> None:
    stage = Stage()
    stage.feed(0.5)
    stage.commit()
    (job_id,) = stage.below.jobs
    stage.below.outputs = [Failed(job_id, "out_of_memory", "no room")]
    stage.below.jobs.clear()
    assert stage.engine.step() == [TurnFailed("s", 0, "no room")]
    stage.feed(0.5)
    stage.commit()
    assert isinstance(stage.heard("again")[0], TurnDone)


def test_the_end_of_input_waits_for_the_last_turn() -> None:
    stage = Stage()
    stage.feed(0.5)
    stage.engine.take_input(EndInput("s"))
    assert stage.engine.step() == [Committed("s", 0)]
    assert stage.heard("bye") == [TurnDone("s", 0, "bye", 0.5, "en"), Finished("s")]
    assert not stage.engine.abort("s")


def test_an_abort_takes_what_is_being_heard_along() -> None:
    stage = Stage()
    stage.feed(0.5)
    stage.commit()
    assert stage.engine.abort("s")
    assert stage.below.jobs == {}
    assert not stage.engine.has_work()


def test_recordings_pass_through_as_if_there_were_no_sessions() -> None:
    stage = Stage()
    job = Job("r", "m", "transcribe", SessionParameters(), [])
    announced: list[str] = []
    stage.engine.announce = announced.append
    stage.engine.add(job, [RecordingItem(1, b"\0\0")])
    stage.below.announce("r")
    assert announced == ["r"]
    assert [type(output) for output in stage.heard("text")] == [ItemDone, Finished]


def test_sessions_announce_no_recordings_of_theirs() -> None:
    stage = Stage()
    announced: list[str] = []
    stage.engine.announce = announced.append
    stage.feed(0.5)
    stage.commit()
    stage.below.announce(next(iter(stage.below.jobs)))
    assert announced == []


def test_a_prompt_too_long_is_refused_at_the_start_and_later() -> None:
    stage = Stage()
    long = SessionParameters(16000, prompt="x" * 300, voice_activity=None)
    with pytest.raises(JobError):
        stage.engine.open_session(Job("t", "m", "listen", long, []))
    stage.engine.take_input(Reconfigure("s", long, "mine"))
    (refused,) = stage.engine.step()
    assert (refused.tag, refused.param) == ("mine", "prompt")  # type: ignore[union-attr]
    assert stage.engine._sessions["s"].listener.parameters == stage.parameters
