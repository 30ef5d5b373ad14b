"""Pictures decoded: formats, and what a hostile file gets."""

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from backends.base import JobError
from backends.media.gif_frames import count_frames
from backends.media.image import ImageLimits, read_image, read_mask
from backends.protocol import Blob, Inline, LocalFile, Remote

LIMITS = ImageLimits(max_pixels=1_000_000, max_frames=20)
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on its left half, blue on its right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def encoded(form: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or picture()).save(file, form, **options)
    return file.getvalue()


def refusal(blob: Blob | bytes, limits: ImageLimits = LIMITS) -> JobError:
    with pytest.raises(JobError) as caught:
        read_image(Inline(blob) if isinstance(blob, bytes) else blob, limits)
    assert caught.value.param == "image"
    return caught.value


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    """A header of that size, and no pixels to speak of."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = png_chunk(b"IDAT", zlib.compress(b"\0" * 64)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + end


def gif_of(frames: int) -> bytes:
    images = [Image.new("P", (4, 4), index % 256) for index in range(frames)]
    for image in images:
        image.putpalette([value for index in range(256) for value in (index, 0, 0)])
    return encoded("GIF", images[0], save_all=True, append_images=images[1:])


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True}), ("GIF", {})],
)
def test_the_usual_formats(form: str, options: dict[str, object]) -> None:
    image = read_image(Inline(encoded(form, **options)), LIMITS)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert np.allclose(np.asarray(image).astype(int), np.asarray(picture()).astype(int), atol=8)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encoded("PNG"))
    assert read_image(LocalFile(str(tmp_path / "a")), LIMITS).getpixel((0, 0)) == RED


@pytest.mark.parametrize("form", ["BMP", "TIFF", "ICO", "PPM", "PCX"])
def test_other_formats_are_refused(form: str) -> None:
    assert refusal(encoded(form)).code == "invalid_image"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\4\0\0\0WEBP",
        encoded("PNG")[:60],
        encoded("JPEG")[:-200],
        encoded("WEBP")[:60],
        encoded("GIF")[:-20],
    ],
)
def test_what_is_none_or_is_cut_off_is_refused(data: bytes) -> None:
    assert refusal(data).code == "invalid_image"


def test_a_message_holds_no_path(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"nothing")
    for blob in (LocalFile(str(tmp_path / "secret")), LocalFile(str(tmp_path / "gone")), Remote("http://x")):
        error = refusal(blob)
        assert "secret" not in error.message
        assert "gone" not in error.message
        assert "http" not in error.message


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (2**31 - 1, 1), (12_000, 12_000)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    error = refusal(png_of(width, height))
    assert error.code == "image_too_large"
    assert "1000000" in error.message


def test_a_picture_at_the_limit_is_taken() -> None:
    image = encoded("PNG", Image.new("L", (1000, 1000)))
    assert read_image(Inline(image), LIMITS).size == (1000, 1000)
    assert refusal(encoded("PNG", Image.new("L", (1001, 1000)))).code == "image_too_large"


def test_animations_are_their_first_frame_and_have_a_limit() -> None:
    assert read_image(Inline(gif_of(20)), LIMITS).size == (4, 4)
    assert refusal(gif_of(21)).code == "image_too_large"
    frames = [Image.new("RGB", (8, 8), (index * 10, 0, 0)) for index in range(21)]
    for form in ("PNG", "WEBP"):
        animation = encoded(form, frames[0], save_all=True, append_images=frames[1:])
        assert refusal(animation).code == "image_too_large"
        few = encoded(form, frames[0], save_all=True, append_images=frames[1:3])
        assert read_image(Inline(few), LIMITS).size == (8, 8)


@given(frames=st.integers(1, 12), most=st.integers(0, 12))
def test_frames_of_a_gif_are_counted_up_to_a_bound(frames: int, most: int) -> None:
    assert count_frames(io.BytesIO(gif_of(frames)), most) == min(frames, most + 1)


@given(data=st.binary(max_size=200), cut=st.integers(0, 400))
def test_counting_ends_in_any_file(data: bytes, cut: int) -> None:
    assert 0 <= count_frames(io.BytesIO(gif_of(3)[:cut] + data), 5) <= 6


@given(
    at=st.integers(0, 10_000), value=st.integers(0, 255), form=st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"])
)
def test_a_damaged_file_is_a_picture_or_the_requests_fault(at: int, value: int, form: str) -> None:
    data = bytearray(encoded(form))
    data[at % len(data)] = value
    with contextlib.suppress(JobError):
        assert read_image(Inline(bytes(data)), LIMITS).mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_exif_is_honoured(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(Inline(encoded("JPEG", quality=95, subsampling=0, exif=exif)), LIMITS)
    assert image.size == ((40, 20) if orientation < 5 else (20, 40))
    left, right, top, bottom = (1, 10), (-2, 10), (10, 1), (10, -2)
    red_at = {1: left, 2: right, 3: right, 4: left, 5: top, 6: top, 7: bottom, 8: bottom}[orientation]
    x, y = red_at[0] % image.width, red_at[1] % image.height
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200
    assert pixel[2] < 60


def test_broken_exif_is_passed_over() -> None:
    data = encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    assert read_image(Inline(data), LIMITS).size == (40, 20)


def test_metadata_goes_no_further() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("secret", "of the sender")
    image = read_image(Inline(encoded("PNG", pnginfo=text)), LIMITS)
    assert image.info == {}
    assert not image.getexif()


def test_a_text_that_grows_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b" " * 100_000_000))
    data = encoded("PNG")
    assert refusal(data[:33] + bomb + data[33:]).code == "invalid_image"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_any_kind_of_pixels(mode: str) -> None:
    if mode == "CMYK":
        data = encoded("JPEG", picture("CMYK"))
    elif mode == "I;16":
        data = encoded("PNG", Image.fromarray(np.full((20, 40), 0x8000, np.uint16)))
    else:
        data = encoded("PNG", picture("L").convert(mode) if mode == "LA" else picture(mode))
    image = read_image(Inline(data), LIMITS)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    if mode == "I;16":
        assert image.getpixel((5, 5)) == (128, 128, 128)


def test_transparent_parts_are_white() -> None:
    image = Image.new("RGBA", (10, 10), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 5, 10))
    made = read_image(Inline(encoded("PNG", image)), LIMITS)
    assert (made.getpixel((0, 0)), made.getpixel((9, 9))) == (BLUE, WHITE)


# --- masks -----------------------------------------------------------------------------------------------


def hole(mode: str = "RGBA") -> Image.Image:
    """Transparent in its left half."""
    image = picture().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 20, 20))
    return image.convert(mode)


@pytest.mark.parametrize(("form", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("WEBP", "RGBA")])
def test_a_mask_is_what_is_transparent(form: str, mode: str) -> None:
    mask = read_mask(
        Inline(encoded(form, hole(mode), **({"lossless": True} if form == "WEBP" else {}))), LIMITS
    )
    assert (mask.mode, mask.size) == ("L", (40, 20))
    assert (mask.getpixel((5, 5)), mask.getpixel((35, 5))) == (255, 0)


def test_a_mask_is_turned_as_its_header_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    mask = read_mask(Inline(encoded("PNG", hole(), exif=exif)), LIMITS)
    assert (mask.getpixel((5, 5)), mask.getpixel((35, 5))) == (0, 255)


@pytest.mark.parametrize("data", [encoded("PNG"), encoded("JPEG"), encoded("PNG", picture().convert("RGBA"))])
def test_a_mask_that_hides_everything_is_refused(data: bytes) -> None:
    with pytest.raises(JobError, match="nowhere transparent"):
        read_mask(Inline(data), LIMITS)


def test_a_hostile_mask_is_refused_like_any_picture() -> None:
    with pytest.raises(JobError) as caught:
        read_mask(Inline(png_of(50_000, 50_000)), LIMITS)
    assert caught.value.code == "image_too_large"
