"""How probable speech is, frame by frame, by the Silero model that faster-whisper carries.

Owns the model's state between pieces, so that a recording can be scanned bit by bit and live audio as it
comes. Must not decide where to cut: speech does.

The model remembers what it has heard, and after a loud noise it may take quiet speech for silence for a long
while. So each frame is judged twice, by a memory that goes on and by one that begins anew every ten seconds;
the higher probability counts.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.vad import get_vad_model

from backends.whisper.speech import FRAME_SAMPLES

Samples = npt.NDArray[np.int16]
Rows = npt.NDArray[np.float32]
_CONTEXT = 64
"""Samples of the frame before that the model wants in front of each frame."""
_STATE = (1, 1, 128)
_FRESH_FRAMES = 312
"""Ten seconds."""


class VoiceActivityModel:
    """One scan of one recording."""

    def __init__(self) -> None:
        self._steady = _Memory()
        self._fresh = _Memory()
        self._frames = 0
        self._context = np.zeros(_CONTEXT, np.float32)

    def feed(self, samples: Samples) -> list[float]:
        """Probabilities of the frames of `samples`; a last frame that is not whole is filled with silence."""
        frames = -(-len(samples) // FRAME_SAMPLES)
        if frames == 0:
            return []
        audio = np.zeros(_CONTEXT + frames * FRAME_SAMPLES, np.float32)
        audio[:_CONTEXT] = self._context
        audio[_CONTEXT : _CONTEXT + len(samples)] = samples
        audio[_CONTEXT:] /= 32768.0
        self._context = audio[-_CONTEXT:].copy()
        windows = np.lib.stride_tricks.sliding_window_view(audio, _CONTEXT + FRAME_SAMPLES)[::FRAME_SAMPLES]
        rows = np.ascontiguousarray(windows)
        probabilities = np.maximum(self._steady.judge(rows), self._anew(rows))
        return [float(probability) for probability in probabilities]

    def _anew(self, rows: Rows) -> npt.NDArray[np.float32]:
        judged = []
        begin = 0
        while begin < len(rows):
            if self._frames % _FRESH_FRAMES == 0:
                self._fresh = _Memory()
            end = min(len(rows), begin + _FRESH_FRAMES - self._frames % _FRESH_FRAMES)
            judged.append(self._fresh.judge(rows[begin:end]))
            self._frames += end - begin
            begin = end
        return np.concatenate(judged)


class _Memory:
    """The model and what it remembers."""

    def __init__(self) -> None:
        self._session: Any = get_vad_model().session
        self._hidden = np.zeros(_STATE, np.float32)
        self._cell = np.zeros(_STATE, np.float32)

    def judge(self, rows: Rows) -> npt.NDArray[np.float32]:
        inputs = {"input": rows, "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self._session.run(None, inputs)
        return np.ravel(probabilities)
