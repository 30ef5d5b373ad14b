"""Where turns begin and end, frame by frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.listening.turns import Began, Ended, NothingToCommit, TooLong, Turns
from backends.protocol import VoiceActivity

RATE = 1000
FRAME = bytes(2 * 100)
"""100 ms."""


def turns(longest_s: float = 60, **activity: int) -> Turns:
    return Turns(RATE, VoiceActivity(**activity), longest_s=longest_s, longest_by_hand_s=longest_s)  # type: ignore[arg-type]


def hear(turns: Turns, pattern: str) -> list[Began | Ended]:
    """`#` is a frame of speech, `.` one of silence, `-` one that is hardly speech."""
    likely = {"#": 0.9, ".": 0.0, "-": 0.4}
    return [change for letter in pattern for change in turns.judge(FRAME, likely[letter])]


def test_a_turn_has_its_padding_and_the_silence_that_ended_it() -> None:
    began, ended = hear(turns(prefix_padding_ms=200, silence_duration_ms=300), ".....###....")
    assert began == Began(0, 300)
    assert isinstance(ended, Ended)
    assert (ended.turn, ended.end_ms, len(ended.audio.pcm)) == (0, 1100, 8 * 200)


def test_a_click_is_no_turn() -> None:
    assert hear(turns(), "..#...#..") == []


def test_a_voice_that_sinks_goes_on() -> None:
    assert len(hear(turns(silence_duration_ms=300), "##------")) == 1


def test_the_padding_of_the_first_turn_cannot_begin_before_the_session() -> None:
    assert hear(turns(prefix_padding_ms=900), ".##") == [Began(0, 0)]


def test_padding_never_takes_what_an_earlier_turn_had() -> None:
    changes = hear(turns(prefix_padding_ms=900, silence_duration_ms=200), "##..##..")
    ended, again = changes[1:3]
    assert isinstance(ended, Ended)
    assert isinstance(again, Began)
    assert again.start_ms == ended.end_ms


def test_speech_without_a_pause_is_cut_and_goes_on() -> None:
    changes = hear(turns(longest_s=1), "#" * 25)
    assert [type(change) for change in changes] == [Began, Ended, Began, Ended, Began]
    assert changes[2] == Began(1, 1000)


def test_a_commit_in_the_middle_of_speech_ends_the_turn() -> None:
    heard = turns()
    hear(heard, "###")
    assert heard.commit().turn == 0
    assert heard.index == 1
    with pytest.raises(NothingToCommit):
        heard.commit()


def test_clearing_forgets_the_turn_and_its_number() -> None:
    heard = turns()
    hear(heard, "###")
    heard.clear()
    assert heard.open_samples == 0
    assert hear(heard, "##") == [Began(1, 300)]


def test_by_hand_all_that_came_is_the_turn_up_to_a_bound() -> None:
    heard = Turns(RATE, None, longest_s=1, longest_by_hand_s=1)
    heard.take(FRAME * 9)
    with pytest.raises(TooLong):
        heard.take(FRAME * 2)
    assert heard.open_samples == 900
    assert len(heard.commit().audio.pcm) == 1800


@given(st.text("#.-", max_size=80), st.integers(0, 500), st.integers(0, 500))
def test_turns_alternate_cover_no_sample_twice_and_keep_their_bounds(
    pattern: str, prefix_ms: int, silence_ms: int
) -> None:
    heard = turns(longest_s=2, prefix_padding_ms=prefix_ms, silence_duration_ms=silence_ms)
    end_ms = 0
    open_since: int | None = None
    for change in hear(heard, pattern):
        if isinstance(change, Began):
            assert open_since is None
            assert change.start_ms >= end_ms
            open_since = change.start_ms
        else:
            assert open_since is not None
            end_ms = change.end_ms
            assert len(change.audio.pcm) // 2 == end_ms - open_since <= 2000 + prefix_ms
            open_since = None
    assert heard.open_samples <= 2000 + prefix_ms
