"""Pictures and recordings of a chat as pixels and samples, in the prepare helper.

What a stranger sent is decoded here and nowhere else: libmtmd sees pixels and samples only.
"""

import hashlib

import numpy as np
from PIL import Image

from backends.base import JobError
from backends.llama_cpp.backend import PreparedMedia
from backends.media.audio import SAMPLE_BYTES, SAMPLE_RATE, AudioLimits, decode
from backends.media.image import ImageLimits, read_image
from backends.media.spool import Spool
from backends.protocol import Chat, ChatMedia
from config.parameters import LlamaCppParameters

_LONGEST_SIDE = 4096
"""Pixels: a larger picture is made so small. No projector looks closer."""
_LOW_SIDE = 512
"""The same where a request asks for little detail (`detail: low` of OpenAI's API)."""
_MOST_OBLONG = 100
"""Longest side in shortest sides: projectors divide by what is left when such a strip is made small."""
_LEAST_SAMPLES = SAMPLE_RATE // 2
"""Shorter recordings are filled up with silence."""
_INLINE_BYTES = 8 * 1024 * 1024
"""Of all media of a job in its one message; more goes through files."""


def read_chat_media(chat: Chat, parameters: LlamaCppParameters) -> list[PreparedMedia]:
    """In their order. Raises JobError for what is no picture or recording, or too large."""
    found: list[PreparedMedia] = []
    room = _INLINE_BYTES
    try:
        for one in (one for message in chat.messages for one in message.media):
            made = (
                _picture(one, parameters, room) if one.kind == "image" else _recording(one, parameters, room)
            )
            room -= len(made.data)
            found.append(made)
    except BaseException:
        for made in found:
            made.discard()
        raise
    return found


def _picture(one: ChatMedia, parameters: LlamaCppParameters, room: int) -> PreparedMedia:
    limits = ImageLimits(parameters.max_pixels, parameters.max_frames, one.media.param)
    image = read_image(one.media.blob, limits)
    if max(image.size) > _MOST_OBLONG * min(image.size):
        raise JobError(
            f"The picture is {image.width} x {image.height} pixels: too narrow a strip.",
            param=one.media.param,
            code="invalid_image",
        )
    side = _LOW_SIDE if one.detail == "low" else _LONGEST_SIDE
    if max(image.size) > side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _spooled(one, image.size, image.tobytes(), room)


def _recording(one: ChatMedia, parameters: LlamaCppParameters, room: int) -> PreparedMedia:
    pcm = bytearray()
    decode(one.media.blob, AudioLimits(parameters.max_audio_s, one.media.param), pcm.extend)
    pcm += bytes(max(_LEAST_SAMPLES * SAMPLE_BYTES - len(pcm), 0))
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768
    return _spooled(one, (len(samples), 1), samples.tobytes(), room)


def _spooled(one: ChatMedia, size: tuple[int, int], data: bytes, room: int) -> PreparedMedia:
    """In the message where that has room for it, else in a file."""
    digest = hashlib.sha256(f"{one.kind} {size[0]} {size[1]}\n".encode() + data).digest()
    spool = Spool("media", max(room, 0))
    try:
        spool.write(data)
        held, path = spool.finish()
    finally:
        spool.close()
    return PreparedMedia(one.kind, *size, digest, held, path, one.media.param)
