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


@pytest.mark.parametrize(("pause", "windows"), [(SECOND, 1), (3 * SECOND, 2)])
def test_a_long_silence_is_in_no_window(pause: int, windows: int) -> None:
    packer = WindowPacker(SETTINGS)
    done = packer.feed(found(frames((0.9, 50), (0.0, pause), (0.9, 50))))
    assert len([*done, *packer.finish(10**9)]) == windows
