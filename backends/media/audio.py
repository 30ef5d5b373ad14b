"""Decodes a recording of any usual container to 16 kHz mono int16.

Owns what is read of a stranger's file: which formats, how many channels, how many seconds. A file is opened
as a plain byte stream and no protocol is allowed, so that a playlist in disguise can make no connection and
open no other file. Messages never hold a path or an address. Must not know any model.
"""

from collections.abc import Callable, Iterator
from typing import BinaryIO

import av
from av.audio.resampler import AudioResampler
from msgspec import Struct

from backends.base import JobError
from backends.media.announced import announced_s, is_cut, wav_is_cut
from backends.media.channels import Channels
from backends.media.opening import opened
from backends.protocol import Blob

SAMPLE_RATE = 16_000
SAMPLE_BYTES = 2
FORMATS = (
    *("wav", "w64", "aiff", "caf", "au", "mp3", "aac", "flac", "ogg", "matroska", "webm", "mov", "mp4"),
    *("m4a", "3gp", "3g2", "mj2", "amr", "asf", "avi", "mpegts"),
)
"""Demuxers that may be tried, by FFmpeg's names. Playlists (hls, concat, dash …) are not among them."""
MAX_CHANNELS = 32

_CUT = "The recording is cut off: its header announces more sound than the file holds."

Sink = Callable[[bytes], object]
"""Takes the next samples, little-endian int16."""


class AudioLimits(Struct, frozen=True):
    max_s: float
    """Longest recording, seconds; counted while it is decoded."""
    param: str = "file"
    """What the request calls it."""


def decode(blob: Blob, limits: AudioLimits, sink: Sink) -> int:
    """Give the samples of the first audio stream to `sink`, piece by piece; how many there were.

    Raises JobError for what is no recording, is broken, too long, or has too many channels.
    """
    count = 0
    most = int(limits.max_s * SAMPLE_RATE)
    with opened(blob, lambda message: _unusable(limits, message)) as file:
        for piece in _pieces(file, limits):
            count += len(piece) // SAMPLE_BYTES
            if count > most:
                raise JobError(
                    f"The recording is longer than {limits.max_s:g} seconds, the most that is taken.",
                    param=limits.param,
                    code="audio_too_long",
                )
            sink(piece)
    if count == 0:
        raise _unusable(limits, "The file holds no sound.")
    return count


def _pieces(file: BinaryIO, limits: AudioLimits) -> Iterator[bytes]:
    """Samples of the first audio stream, resampled. Raises JobError where the file ends before they do."""
    if wav_is_cut(file):
        raise _unusable(limits, _CUT)
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    try:
        with av.open(file, mode="r", options=options, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise _unusable(limits, "The file holds no sound.")
            stream = container.streams.audio[0]
            announced = announced_s(container, stream)
            decoded_s = 0.0
            channels = Channels()
            resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            for frame in _frames(container, stream):
                _check(frame, channels, limits)
                decoded_s += frame.samples / frame.sample_rate
                for part in resampler.resample(channels.mixable(frame)):
                    yield part.to_ndarray().astype("<i2", copy=False).tobytes()
            for part in resampler.resample(None):
                yield part.to_ndarray().astype("<i2", copy=False).tobytes()
            if is_cut(announced, decoded_s):
                raise _unusable(limits, _CUT)
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise _unusable(
            limits, "The file is no recording that can be decoded: it is damaged, or of an unknown format."
        ) from error


def _frames(container: "av.container.InputContainer", stream: "av.AudioStream") -> Iterator["av.AudioFrame"]:
    """Decoded frames; a broken packet costs its own sound only, as in any player."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        for frame in frames:
            if isinstance(frame, av.AudioFrame) and frame.samples:
                yield frame


def _check(frame: "av.AudioFrame", channels: Channels, limits: AudioLimits) -> None:
    count = frame.layout.nb_channels
    if count > MAX_CHANNELS:
        raise _unusable(limits, f"The recording has {count} channels; at most {MAX_CHANNELS} are taken.")
    if not channels.are_finite(frame):
        raise _unusable(limits, "The recording holds samples that are no finite numbers.")


def _unusable(limits: AudioLimits, message: str) -> JobError:
    return JobError(message, param=limits.param, code="invalid_audio")
