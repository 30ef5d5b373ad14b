"""The channels of a recording: read as numbers, and made one where FFmpeg knows no way.

FFmpeg mixes channels by where their loudspeakers stand. For most numbers above 8 it knows no such places.
Must not know which recordings are taken.
"""

import av
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

_FLOAT_FORMATS = ("flt", "fltp", "dbl", "dblp")
_MIXED_CHANNELS = 8
"""So many FFmpeg mixes whatever they are."""
_READABLE_PLANES = 7
"""PyAV takes a frame's planes to end at a null pointer. Behind more of them there is none: it would give out
memory that is not the frame's."""


class Channels:
    """Of one recording; to be given its frames in order."""

    def __init__(self) -> None:
        self._interleaved = AudioResampler(format="flt")

    def are_finite(self, frame: "av.AudioFrame") -> bool:
        if frame.format.name not in _FLOAT_FORMATS:
            return True
        readable = not frame.format.is_planar or frame.layout.nb_channels <= _READABLE_PLANES
        return bool(np.isfinite(frame.to_ndarray() if readable else self._floats(frame)).all())

    def mixable(self, frame: "av.AudioFrame") -> "av.AudioFrame":
        """The frame, or the average of its channels if FFmpeg might not know how to mix them."""
        return self._average(frame) if frame.layout.nb_channels > _MIXED_CHANNELS else frame

    def _average(self, frame: "av.AudioFrame") -> "av.AudioFrame":
        values = self._floats(frame).reshape(-1, frame.layout.nb_channels)
        mono = av.AudioFrame.from_ndarray(values.mean(axis=1)[None], format="flt", layout="mono")
        mono.sample_rate = frame.sample_rate
        return mono

    def _floats(self, frame: "av.AudioFrame") -> npt.NDArray[np.float32]:
        """Samples of all channels, those of one moment side by side."""
        (converted,) = self._interleaved.resample(frame)
        if converted.format.name != "flt":
            raise ValueError("the format of the samples has changed on the way")
        return converted.to_ndarray().astype(np.float32, copy=False)
