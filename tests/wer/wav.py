"""Samples as a WAV file in memory."""

import io
import wave

import numpy as np
import numpy.typing as npt

from backends.media.audio import SAMPLE_RATE


def wav(samples: npt.NDArray[np.int16]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(samples.tobytes())
    return file.getvalue()
