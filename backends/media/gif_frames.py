"""Counts the frames of a GIF from its blocks, without decoding any and without reading past a bound.

Format: CompuServe GIF89a, sections 17 to 27. Pillow can count them too, but only all of them, however many.
"""

from typing import BinaryIO

_EXTENSION, _IMAGE = 0x21, 0x2C
_HEADER_BYTES = 13
_DESCRIPTOR_BYTES = 9


def count_frames(file: BinaryIO, most: int) -> int:
    """Frames of the GIF that `file` begins with; counting ends above `most`, and where the file does."""
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return 0
    file.seek(_table_bytes(header[10]), 1)
    frames = 0
    while frames <= most and (kind := file.read(1)):
        if kind[0] == _IMAGE:
            descriptor = file.read(_DESCRIPTOR_BYTES)
            if len(descriptor) < _DESCRIPTOR_BYTES:
                return frames
            frames += 1
            file.seek(_table_bytes(descriptor[8]) + 1, 1)
        elif kind[0] == _EXTENSION:
            file.seek(1, 1)
        else:
            return frames
        _skip_blocks(file)
    return frames


def _table_bytes(flags: int) -> int:
    """Length of the colour table that a header's or descriptor's flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(file: BinaryIO) -> None:
    """Past the data blocks of one section: each begins with its length, the last has none."""
    while (length := file.read(1)) and length[0]:
        file.seek(length[0], 1)
