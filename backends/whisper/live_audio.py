"""The ears of one live session: its audio at the model's rate, and where in it somebody speaks."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from backends.whisper.speech import FRAME_SAMPLES, SAMPLE_RATE

_HALF = 24
"""Samples on each side of a point that its value is made of."""
_CUTOFF = 0.94
"""Of the band that 16 kHz can hold: the rest is for the filter's slope."""


class SpeechModel(Protocol):
    def feed(self, samples: npt.NDArray[np.int16]) -> list[float]: ...


class Downsampler:
    """24 kHz to 16 kHz, piece by piece: two samples for three, by a windowed sinc filter.

    The audio comes out a millisecond late; however it was cut, the same samples come.
    """

    def __init__(self) -> None:
        self._kept = np.zeros(_HALF - 1, np.float32)
        self._even, self._odd = _weights(0.0), _weights(0.5)

    def feed(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        kept = np.concatenate([self._kept, samples.astype(np.float32)])
        pairs = max(0, (len(kept) - 2 * _HALF - 1) // 3 + 1) if len(kept) > 2 * _HALF else 0
        if pairs == 0:
            self._kept = kept
            return np.empty(0, np.int16)
        windows = np.lib.stride_tricks.sliding_window_view(kept, 2 * _HALF)
        out = np.empty(2 * pairs, np.float32)
        out[0::2] = windows[0 : 3 * pairs : 3] @ self._even
        out[1::2] = windows[1 : 3 * pairs + 1 : 3][:pairs] @ self._odd
        self._kept = kept[3 * pairs :].copy()
        return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


def _weights(offset: float) -> npt.NDArray[np.float32]:
    """Of the samples from _HALF - 1 before to _HALF after, for a point `offset` behind the middle one."""
    distance = np.arange(-_HALF + 1, _HALF + 1) - offset
    band = _CUTOFF * 2 / 3
    taps = band * np.sinc(band * distance) * (0.5 + 0.5 * np.cos(np.pi * distance / (_HALF + 1)))
    return np.asarray(taps / taps.sum(), np.float32)


class WhisperEar:
    """See backends/listening/listener.py."""

    rate = SAMPLE_RATE
    frame_bytes = 2 * FRAME_SAMPLES

    def __init__(self, sample_rate: int, speech: SpeechModel) -> None:
        self._downsampler = None if sample_rate == SAMPLE_RATE else Downsampler()
        self._speech = speech

    def convert(self, pcm: bytes) -> bytes:
        if self._downsampler is None:
            return pcm
        return self._downsampler.feed(np.frombuffer(pcm, "<i2")).tobytes()

    def probabilities(self, frames: bytes) -> list[float]:
        return self._speech.feed(np.frombuffer(frames, "<i2"))
