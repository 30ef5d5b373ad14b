"""Encodes speech as it is made: mono float samples in, the bytes of one growing file out.

Owns formats, rates and bit rates. Whatever has been written at any moment, joined, is the beginning of one
file that players read; nothing is ever gone back to, as it may be at the client already.
"""

import struct
from fractions import Fraction
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from backends.protocol import AudioFormat

Samples = npt.NDArray[np.float32]

PCM_RATE = 24000
"""Of `pcm`, which has no header to say it in: what OpenAI's API documents."""
_UNKNOWN = 0xFFFFFFFF
_WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_OPUS_RATE = 48000


class Encoder(Protocol):
    def write(self, samples: Samples, *, is_last: bool = False) -> bytes:
        """Bytes that are ready after these samples, perhaps none; with `is_last` all that are left."""
        ...


def open_encoder(format: AudioFormat, sample_rate: int) -> Encoder:
    """An encoder of speech at `sample_rate`, Hz."""
    if format == "wav":
        return WavEncoder(sample_rate)
    if format == "pcm":
        return PcmEncoder(sample_rate)
    return CompressingEncoder(_CODECS[format], sample_rate)


class PcmEncoder:
    """Little-endian int16 at PCM_RATE, no header."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._resampler = av.AudioResampler("s16", "mono", PCM_RATE) if sample_rate != PCM_RATE else None
        self._position = 0

    def write(self, samples: Samples, *, is_last: bool = False) -> bytes:
        if self._resampler is None:
            return to_int16(samples).tobytes()
        frames = [*self._resampled(samples)] + (self._resampler.resample(None) if is_last else [])
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)

    def _resampled(self, samples: Samples) -> list[av.AudioFrame]:
        if not len(samples) or self._resampler is None:
            return []
        frame = _frame(to_int16(samples), "s16", self._sample_rate, self._position)
        self._position += len(samples)
        return self._resampler.resample(frame)


class WavEncoder:
    """RIFF, 16 bits. Sizes are right where the first write is the last, else those of an endless stream."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._has_header = False

    def write(self, samples: Samples, *, is_last: bool = False) -> bytes:
        data = to_int16(samples).tobytes()
        if self._has_header:
            return data
        self._has_header = True
        return self._header(len(data) if is_last else None) + data

    def _header(self, data_bytes: int | None) -> bytes:
        """Source: Multimedia Programming Interface and Data Specifications 1.0, IBM and Microsoft, 1991."""
        riff_bytes = _UNKNOWN if data_bytes is None else data_bytes + _WAV_HEADER.size - 8
        known_bytes = _UNKNOWN if data_bytes is None else data_bytes
        rate = self._sample_rate
        # fmt chunk of 16 bytes: PCM, one channel, rate, bytes a second, bytes a sample, bits a sample.
        return _WAV_HEADER.pack(
            b"RIFF", riff_bytes, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", known_bytes
        )


class _Codec(Struct, frozen=True):
    name: str
    container: str
    bit_rate: int | None
    rates: tuple[int, ...] = ()
    """Those that the codec takes; empty: all."""
    container_options: dict[str, str] = {}
    options: dict[str, str] = {}


# With the codecs' own defaults a small voice spends as much time on encoding as on speaking; as it is set
# here, MP3 takes half of that, Opus a third, AAC a quarter.
_CODECS: dict[AudioFormat, _Codec] = {
    # No header that would have to be gone back to, and no tags in front.
    "mp3": _Codec(
        "libmp3lame",
        "mp3",
        96_000,
        (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
        {"write_xing": "0", "id3v2_version": "0"},
        {"compression_level": "7"},
    ),
    # A page each fifth of a second: a page leaves when it is full.
    "opus": _Codec(
        "libopus", "ogg", 48_000, (_OPUS_RATE,), {"page_duration": "200000"}, {"compression_level": "5"}
    ),
    "aac": _Codec(
        "aac",
        "adts",
        64_000,
        (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000),
        options={"aac_coder": "fast"},
    ),
    "flac": _Codec("flac", "flac", None),
}


class CompressingEncoder:
    """A codec in its container, by FFmpeg's libraries; resamples where the codec does not know the rate."""

    def __init__(self, codec: _Codec, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._position = 0
        self._sink = _Sink()
        container_options = {**codec.container_options, "flush_packets": "1"}
        self._container = av.open(self._sink, "w", format=codec.container, options=container_options)
        rate = sample_rate if not codec.rates or sample_rate in codec.rates else codec.rates[0]
        stream = self._container.add_stream(codec.name, rate=rate, layout="mono", options=codec.options)
        assert isinstance(stream, av.AudioStream)
        self._stream = stream
        if codec.bit_rate is not None:
            self._stream.bit_rate = codec.bit_rate

    def write(self, samples: Samples, *, is_last: bool = False) -> bytes:
        if len(samples):
            frame = _frame(samples, "fltp", self._sample_rate, self._position)
            self._position += len(samples)
            self._container.mux(self._stream.encode(frame))
        if is_last:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        return self._sink.take()


class _Sink:
    """A file that can only be written to, from its beginning to its end."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def to_int16(samples: Samples) -> npt.NDArray[np.int16]:
    """Little-endian; louder than full scale is clipped."""
    scaled: npt.NDArray[np.int16] = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return scaled


def _frame(samples: Samples | npt.NDArray[np.int16], format: str, rate: int, position: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format=format, layout="mono")
    frame.sample_rate = rate
    frame.pts = position
    frame.time_base = Fraction(1, rate)
    return frame
