"""Where recordings are cut."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.protocol import VoiceActivity
from backends.whisper.speech import (
    FRAME_SAMPLES,
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Span,
    SpeechFinder,
    SpeechSettings,
    WindowPacker,
)

SETTINGS = SpeechSettings()
SECOND = SAMPLE_RATE // FRAME_SAMPLES
"""Frames, about."""


def frames(*stretches: tuple[float, int]) -> list[float]:
    return [probability for probability, count in stretches for _ in range(count)]


def found(probabilities: list[float], settings: SpeechSettings = SETTINGS) -> list[Span]:
    finder = SpeechFinder(settings)
    return [*finder.feed(probabilities), *finder.finish()]


def test_silence_holds_no_speech() -> None:
    assert found(frames((0.1, 500))) == []


def test_a_stretch_begins_and_ends_with_its_speech() -> None:
    assert found(frames((0.0, 10), (0.9, 20), (0.0, 30))) == [Span(10 * 512, 30 * 512)]


def test_speech_goes_on_a_little_below_the_threshold() -> None:
    assert found(frames((0.9, 5), (0.25, 20), (0.9, 5))) == [Span(0, 30 * 512)]


def test_a_click_is_no_speech() -> None:
    assert found(frames((0.0, 9), (0.9, 1), (0.0, 9))) == []


def test_a_short_pause_ends_nothing_and_a_long_one_does() -> None:
    assert len(found(frames((0.9, 10), (0.0, 4), (0.9, 10)))) == 1
    assert len(found(frames((0.9, 10), (0.0, 5), (0.9, 10)))) == 2


def test_a_request_says_what_a_pause_is() -> None:
    asked = SETTINGS.asked(VoiceActivity(silence_duration_ms=1000, threshold=0.8, prefix_padding_ms=10))
    assert len(found(frames((0.9, 10), (0.0, 20), (0.9, 10)), asked)) == 1
    assert found(frames((0.7, 40)), asked) == []
    assert asked.padding_ms == 10


def test_speech_without_a_pause_is_cut_where_it_is_least_probable() -> None:
    dip = frames((0.9, 25 * SECOND), (0.5, 1), (0.9, 30 * SECOND))
    first, second, *_ = found(dip)
    assert first == Span(0, 25 * SECOND * 512)
    assert second.start == first.end


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_pieces_are_found_as_the_whole_is(seed: int, piece: int) -> None:
    source = random.Random(seed)
    probabilities = [p for _ in range(40) for p in [source.random()] * source.randint(1, 60)]
    finder = SpeechFinder(SETTINGS)
    spans = []
    for begin in range(0, len(probabilities), piece):
        spans += finder.feed(probabilities[begin : begin + piece])
    assert spans + finder.finish() == found(probabilities)


@given(st.integers(0, 2**32))
def test_windows_hold_all_speech_once_in_order_and_fit(seed: int) -> None:
    source = random.Random(seed)
    probabilities = [p for _ in range(60) for p in [source.choice([0.05, 0.95])] * source.randint(1, 300)]
    length = len(probabilities) * FRAME_SAMPLES
    spans = found(probabilities)
    packer = WindowPacker(SETTINGS)
    windows = [*packer.feed(spans), *packer.finish(length)]
    assert all(0 < window.end - window.start <= WINDOW_SAMPLES for window in windows)
    assert all(one.end <= other.start for one, other in itertools.pairwise(windows))
    assert all(any(w.start <= s.start and s.end <= w.end for w in windows) for s in spans)


@pytest.mark.parametrize(("pause", "windows"), [(SECOND, 1), (6 * SECOND, 2)])
def test_a_long_silence_is_in_no_window(pause: int, windows: int) -> None:
    packer = WindowPacker(SETTINGS)
    done = packer.feed(found(frames((0.9, 50), (0.0, pause), (0.9, 50))))
    assert len([*done, *packer.finish(10**9)]) == windows


def test_padding_gives_way_where_speech_fills_the_window() -> None:
    """Speech of 28.5 s has 0.75 s on each side left, and a whole second beside shorter speech."""
    for seconds, padding in ((28.5, 0.75), (10.0, 1.0)):
        start = 5 * SAMPLE_RATE
        packer = WindowPacker(SETTINGS)
        packer.feed([Span(start, start + int(seconds * SAMPLE_RATE))])
        (window,) = packer.finish(10**9)
        assert window.start == start - int(padding * SAMPLE_RATE)
        assert window.end - window.start == int((seconds + 2 * padding) * SAMPLE_RATE)


@pytest.mark.parametrize(
    ("length_s", "speech_s", "window_s"),
    [(20, (2, 18), (0, 20)), (20, (9, 10), (8, 11)), (29, (3, 27), (0, 29)), (60, (2, 28), (0, 29))],
)
def test_a_clip_is_heard_as_it_was_recorded(
    length_s: int, speech_s: tuple[int, int], window_s: tuple[int, int]
) -> None:
    packer = WindowPacker(SETTINGS)
    packer.feed([Span(*(second * SAMPLE_RATE for second in speech_s))])
    assert packer.finish(length_s * SAMPLE_RATE) == [Span(*(second * SAMPLE_RATE for second in window_s))]


def test_a_request_that_says_how_much_silence_it_wants_gets_no_more() -> None:
    packer = WindowPacker(SETTINGS.asked(VoiceActivity(prefix_padding_ms=500)))
    packer.feed([Span(2 * SAMPLE_RATE, 4 * SAMPLE_RATE)])
    assert packer.finish(5 * SAMPLE_RATE) == [Span(SAMPLE_RATE * 3 // 2, SAMPLE_RATE * 9 // 2)]
