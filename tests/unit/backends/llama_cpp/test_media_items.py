"""Pictures and recordings of a chat, as a projector gets them."""

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backends.base import JobError
from backends.llama_cpp import media_items
from backends.llama_cpp.media_items import read_chat_media
from backends.protocol import Chat, ChatMedia, ChatMessage, Inline, Media
from config.parameters import LlamaCppParameters

PARAMETERS = LlamaCppParameters(max_pixels=20_000_000, max_audio_s=2)


def picture(width: int, height: int, detail: Any = "auto", **options: Any) -> ChatMedia:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, "PNG", **options)
    return ChatMedia("image", Media(Inline(file.getvalue()), param="here"), 0, detail)


def recording(samples: int) -> ChatMedia:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(16000)
        out.writeframes(np.full(samples, 16384, dtype="<i2").tobytes())
    return ChatMedia("audio", Media(Inline(file.getvalue()), param="there"), 0)


def read(*media: ChatMedia) -> list[Any]:
    return list(read_chat_media(Chat([ChatMessage("user", "", media=list(media))]), PARAMETERS))


def test_pixels_are_rgb() -> None:
    made = read(picture(30, 20))[0]
    assert (made.kind, made.width, made.height, len(made.data)) == ("image", 30, 20, 30 * 20 * 3)
    assert (made.param, made.path) == ("here", "")


def test_samples_are_floats_and_never_too_few() -> None:
    long, short = read(recording(9000), recording(1))
    assert (long.width, long.height) == (9000, 1)
    assert np.frombuffer(long.data, dtype=np.float32).tolist() == [0.5] * 9000
    heard = np.frombuffer(short.data, dtype=np.float32)
    assert (short.width, len(heard), heard[0], heard[1:].any()) == (8000, 8000, 0.5, False)


@pytest.mark.parametrize(
    ("size", "detail", "seen"),
    [
        ((4100, 41), "auto", (4096, 41)),
        ((600, 300), "low", (512, 256)),
        ((600, 300), "high", (600, 300)),
        ((1, 1), "low", (1, 1)),
    ],
)
def test_large_pictures_are_made_smaller(size: tuple[int, int], detail: str, seen: tuple[int, int]) -> None:
    made = read(picture(*size, detail=detail))[0]
    assert (made.width, made.height) == seen


def test_equal_pixels_have_equal_digests() -> None:
    one, same, other, turned = read(
        picture(30, 20), picture(30, 20, compress_level=0), picture(30, 21), picture(20, 30)
    )
    assert one.digest == same.digest
    assert len({one.digest, other.digest, turned.digest}) == 3


@pytest.mark.parametrize(
    ("media", "code", "param"),
    [
        (picture(5000, 4001), "image_too_large", "here"),
        (picture(202, 2), "invalid_image", "here"),
        (ChatMedia("image", Media(Inline(b"no"), param="here"), 0), "invalid_image", "here"),
        (recording(40_000), "audio_too_long", "there"),
        (ChatMedia("audio", Media(Inline(b"no"), param="there"), 0), "invalid_audio", "there"),
    ],
)
def test_what_is_refused(media: ChatMedia, code: str, param: str) -> None:
    with pytest.raises(JobError) as caught:
        read(media)
    assert (caught.value.code, caught.value.param) == (code, param)


def test_much_goes_through_files_which_a_refusal_removes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(media_items, "_INLINE_BYTES", 2000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    small, large = read(picture(30, 20), picture(31, 20))
    assert (len(small.data), large.data) == (1800, b"")
    assert (len(small.read()), len(large.read())) == (1800, 1860)
    large.discard()
    with pytest.raises(JobError):
        read(picture(30, 30), picture(202, 2))
    assert list(tmp_path.iterdir()) == []
