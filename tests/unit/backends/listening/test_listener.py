"""Inputs of one session in the order in which they came."""

from typing import Any

from backends.listening.listener import Listener
from backends.protocol import (
    Clear,
    Cleared,
    Commit,
    Committed,
    EndInput,
    Feed,
    InputRefused,
    Reconfigure,
    SessionInput,
    SessionParameters,
    SpeechStarted,
    SpeechStopped,
    VoiceActivity,
    input_cost,
)

FRAME = 64


class LoudEar:
    """A frame is speech if it has a byte that is not zero."""

    rate = 1000
    frame_bytes = FRAME

    def convert(self, pcm: bytes) -> bytes:
        return pcm

    def probabilities(self, frames: bytes) -> list[float]:
        return [float(any(frames[at : at + FRAME])) for at in range(0, len(frames), FRAME)]


def listener(activity: VoiceActivity | None, longest_s: float = 60) -> Listener:
    return Listener(
        "s",
        SessionParameters(voice_activity=activity),
        LoudEar(),
        longest_s=longest_s,
        longest_by_hand_s=longest_s,
    )


def work_off(heard: Listener, *messages: SessionInput) -> list[Any]:
    for message in messages:
        heard.take(message)
    return heard.listen(sum(map(input_cost, messages)))


def loud(milliseconds: int) -> Feed:
    return Feed("s", b"\1\0" * milliseconds)


def quiet(milliseconds: int) -> Feed:
    return Feed("s", bytes(2 * milliseconds))


def test_frames_are_whole_however_the_audio_was_cut() -> None:
    heard = listener(VoiceActivity(prefix_padding_ms=0, silence_duration_ms=64))
    pieces = [Feed("s", (b"\1\0" * 320 + bytes(400))[i : i + 10]) for i in range(0, 1040, 10)]
    kinds = [type(output) for output in work_off(heard, *pieces)]
    assert kinds == [SpeechStarted, SpeechStopped, Committed]
    assert [turn.index for turn in heard.waiting] == [0]


def test_a_commit_takes_the_rest_of_a_frame_along() -> None:
    heard = listener(VoiceActivity(prefix_padding_ms=0))
    started, committed = work_off(heard, loud(200), Commit("s"))
    assert (started, committed) == (SpeechStarted("s", 0, 0), Committed("s", 0))
    assert len(heard.waiting[0].pcm) == 400


def test_a_commit_whose_rest_completes_the_longest_turn_ends_that_and_no_other() -> None:
    heard = listener(VoiceActivity(prefix_padding_ms=0), longest_s=0.21)
    outputs = work_off(heard, loud(220), Commit("s", "mine"))
    assert outputs == [SpeechStarted("s", 0, 0), Committed("s", 0)]
    assert [len(turn.pcm) for turn in heard.waiting] == [440]
    assert work_off(heard, quiet(1000)) == [], "nobody speaks"


def test_a_commit_after_a_change_to_turns_by_hand_takes_the_rest_along() -> None:
    heard = listener(VoiceActivity(prefix_padding_ms=1000))
    by_hand = SessionParameters(voice_activity=None)
    outputs = work_off(heard, quiet(500), Reconfigure("s", by_hand), Commit("s"))
    assert outputs == [Committed("s", 0)]
    assert [len(turn.pcm) for turn in heard.waiting] == [1000]


def test_an_empty_commit_is_refused_with_its_tag() -> None:
    (refused,) = work_off(listener(None), Commit("s", "mine"))
    assert isinstance(refused, InputRefused)
    assert (refused.tag, refused.code) == ("mine", "input_audio_buffer_commit_empty")


def test_inputs_act_in_their_order() -> None:
    heard = listener(None)
    outputs = work_off(heard, quiet(150), Clear("s"), quiet(200), Commit("s"), quiet(300), Commit("s"))
    assert outputs == [Cleared("s"), Committed("s", 1), Committed("s", 2)]
    assert [len(turn.pcm) for turn in heard.waiting] == [400, 600]


def test_a_full_buffer_is_told_once_and_can_still_be_committed() -> None:
    heard = listener(None, longest_s=0.5)
    (full,) = work_off(heard, quiet(400), quiet(200), quiet(200))
    assert full.code == "input_audio_buffer_full"
    assert work_off(heard, Commit("s")) == [Committed("s", 0)]
    assert heard.backlog_bytes == 800


def test_turn_detection_may_change_on_the_way() -> None:
    heard = listener(None)
    other = SessionParameters(voice_activity=VoiceActivity(prefix_padding_ms=0, silence_duration_ms=32))
    outputs = work_off(heard, Reconfigure("s", other), loud(64), quiet(32))
    assert [type(output) for output in outputs] == [SpeechStarted, SpeechStopped, Committed]


def test_the_end_of_input_ends_the_open_turn() -> None:
    heard = listener(VoiceActivity())
    outputs = work_off(heard, loud(256), EndInput("s"))
    assert [type(output) for output in outputs] == [SpeechStarted, SpeechStopped, Committed]
    assert heard.input_ended


def test_no_more_is_worked_off_than_asked_for() -> None:
    heard = listener(None)
    for _ in range(3):
        heard.take(quiet(100))
    heard.listen(2 * input_cost(quiet(100)))
    assert (heard.has_input, heard.backlog_bytes) == (True, 200)
