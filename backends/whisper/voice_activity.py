"""How probable speech is, frame by frame, by the Silero model that faster-whisper carries.

Owns the model's state between pieces, so that a recording can be scanned bit by bit and live audio as it
comes. Must not decide where to cut: speech does.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.vad import get_vad_model

from backends.whisper.speech import FRAME_SAMPLES

Samples = npt.NDArray[np.int16]
_CONTEXT = 64
"""Samples of the frame before that the model wants in front of each frame."""
_STATE = (1, 1, 128)


class VoiceActivityModel:
    """One scan of one recording."""

    def __init__(self) -> None:
        self._session: Any = get_vad_model().session
        self._hidden = np.zeros(_STATE, np.float32)
        self._cell = np.zeros(_STATE, np.float32)
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
        rows = np.lib.stride_tricks.sliding_window_view(audio, _CONTEXT + FRAME_SAMPLES)[::FRAME_SAMPLES]
        inputs = {"input": np.ascontiguousarray(rows), "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self._session.run(None, inputs)
        return [float(probability) for probability in np.ravel(probabilities)]
