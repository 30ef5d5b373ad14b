"""What a recording's header announces, held against what the file has: whether it was cut off.

Owns the reading of announced lengths. Must not decode. Only containers that write their length down are held
to it: of others FFmpeg estimates it, which may be far off for a good file.
"""

import os
import struct
from typing import BinaryIO

import av

_WRITTEN_DOWN = {"aiff", "au", "flac", "mov", "matroska"}
"""First of FFmpeg's names of demuxers whose durations are read, not estimated."""
_TOLERATED = 0.95
_TOLERATED_S = 0.5
"""Broken packets inside and rounded durations are no cut."""
_HEADER = struct.Struct("<4sI")
_MOST_CHUNKS = 1000
_UNKNOWN_SIZE = 0x7FFFF000
"""From here on a WAV's size means that it was sent before its length was known. To a pipe, sox writes this
one; ffmpeg and the speech route write 0xFFFFFFFF."""


def wav_is_cut(file: BinaryIO) -> bool:
    """True for a WAV whose sound chunk is longer than the file; leaves the file at its beginning."""
    try:
        return _ends_within_chunk(file)
    finally:
        file.seek(0)


def _ends_within_chunk(file: BinaryIO) -> bool:
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
        return False
    for _ in range(_MOST_CHUNKS):
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return False
        name, size = _HEADER.unpack(header)
        if name == b"data":
            return size < _UNKNOWN_SIZE and length - file.tell() < int(size) * _TOLERATED
        file.seek(size + size % 2, os.SEEK_CUR)
    return False


def announced_s(container: "av.container.InputContainer", stream: "av.AudioStream") -> float:
    """Seconds of sound that the header writes down; 0 where it does not say."""
    if container.format.name.partition(",")[0] not in _WRITTEN_DOWN:
        return 0.0
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if len(container.streams) == 1 and container.duration:  # with a film it is the film's
        return container.duration / av.time_base
    return 0.0


def is_cut(announced: float, decoded_s: float) -> bool:
    return decoded_s < announced * _TOLERATED - _TOLERATED_S
