"""24 kHz to 16 kHz, however the audio is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.whisper.live_audio import Downsampler, WhisperEar


def tone(hertz: float, rate: int, seconds: float = 0.5) -> "np.typing.NDArray[np.int16]":
    times = np.arange(int(rate * seconds)) / rate
    return np.asarray(10000 * np.sin(2 * np.pi * hertz * times), np.int16)


@pytest.mark.parametrize("hertz", [100, 1000, 3000, 6000])
def test_a_tone_stays_what_it_was(hertz: int) -> None:
    heard = Downsampler().feed(tone(hertz, 24000)).astype(float)
    expected = tone(hertz, 16000)[: len(heard)].astype(float)
    # The filter's first samples know nothing of what stood before them.
    assert np.abs(heard[64:] - expected[64:]).max() < 150


@pytest.mark.parametrize("hertz", [9500, 11000])
def test_what_16_khz_cannot_hold_is_gone(hertz: int) -> None:
    heard = Downsampler().feed(tone(hertz, 24000))
    assert np.abs(heard[64:].astype(int)).max() < 150


@given(st.lists(st.integers(0, 700), max_size=12))
def test_the_cuts_leave_no_trace(sizes: list[int]) -> None:
    audio = tone(440, 24000, 0.2)[: sum(sizes)]
    pieces, cut = Downsampler(), 0
    heard = []
    for size in sizes:
        heard.append(pieces.feed(audio[cut : cut + size]))
        cut += size
    whole = Downsampler().feed(audio)
    assert np.array_equal(np.concatenate([*heard, np.empty(0, np.int16)]), whole)


class Frames:
    def feed(self, samples: "np.typing.NDArray[np.int16]") -> list[float]:
        return [0.5] * (len(samples) // 512)


def test_audio_at_the_model_s_rate_is_left_alone() -> None:
    ear = WhisperEar(16000, Frames())
    assert ear.convert(b"\1\2\3\4") == b"\1\2\3\4"
    assert ear.probabilities(bytes(4 * ear.frame_bytes)) == [0.5] * 4
