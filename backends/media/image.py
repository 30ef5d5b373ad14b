"""Decodes a picture that a stranger sent: upright, RGB, and nothing else of the file.

Owns what is read of it: which formats, how many pixels and frames. The header is judged before a pixel is
decoded. Of an animation the first frame is the picture. Transparent parts become white. Metadata (EXIF,
colour profiles, comments) goes no further than the orientation, which is applied. Messages never hold a path
or an address. Must not know any model.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from msgspec import Struct
from PIL import Image

from backends.base import JobError
from backends.media.gif_frames import count_frames
from backends.media.opening import opened
from backends.protocol import Blob

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""Decoders that may be tried, by Pillow's names; it has many more, and some start other programs."""
MAX_PIXELS = 64_000_000
MAX_FRAMES = 1000
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by the value of EXIF's orientation (EXIF 2.32, 4.6.4)."""
_UNREADABLE = (
    *(OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError),
    *(TypeError, AttributeError, struct.error, zlib.error),
)
"""What Pillow raises over files that are broken, on purpose or not."""


class ImageLimits(Struct, frozen=True):
    max_pixels: int = MAX_PIXELS
    """Most pixels of a picture, width times height."""
    max_frames: int = MAX_FRAMES
    """Most frames of an animation."""
    param: str = "image"
    """What the request calls it."""


def read_image(blob: Blob, limits: ImageLimits) -> Image.Image:
    """The picture. Raises JobError for what is none, is broken, or too large."""
    with _loaded(blob, limits) as image:
        return _plain(image)


def read_mask(blob: Blob, limits: ImageLimits) -> Image.Image:
    """Of a picture with transparent parts how transparent each is, 255 being wholly. Raises JobError as
    read_image does, and for a picture that is nowhere transparent."""
    with _loaded(blob, limits) as image:
        opacity = _upright(image, image.convert("RGBA").getchannel("A"))
    mask = opacity.point(lambda value: 255 - value)
    if mask.getbbox() is None:
        raise _unusable(limits, "The mask is nowhere transparent: there is nothing to be painted anew.")
    return mask


def check_mask(mask: Image.Image, picture: Image.Image, param: str) -> None:
    """Raises JobError for a mask of another size than its picture: it would be stretched over it."""
    if mask.size != picture.size:
        raise JobError(
            f"The mask is {mask.width}x{mask.height}, the picture {picture.width}x{picture.height}: "
            "they must be of one size.",
            param=param,
            code="invalid_mask",
        )


@contextmanager
def _loaded(blob: Blob, limits: ImageLimits) -> Iterator[Image.Image]:
    with (
        opened(blob, lambda message: _unusable(limits, message)) as file,
        _refusing(limits),
        Image.open(file, formats=FORMATS) as image,
    ):
        _check(image, file, limits)
        image.load()
        yield image


@contextmanager
def _refusing(limits: ImageLimits) -> Iterator[None]:
    """Pillow's failures and warnings over a file as the request's own fault."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which nobody reads
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise _too_large(limits) from None
    except _UNREADABLE as error:
        known = "PNG, JPEG, WebP and GIF"
        raise _unusable(
            limits, f"The file is no picture that can be read: it is damaged, or none of {known}."
        ) from error


def _check(image: Image.Image, file: BinaryIO, limits: ImageLimits) -> None:
    """What the header says, and of a GIF the heads of its frames."""
    if image.width * image.height > limits.max_pixels:
        raise _too_large(limits)
    if _frames(image, file, limits.max_frames) > limits.max_frames:
        raise JobError(
            f"The picture has more than {limits.max_frames} frames, the most that are taken.",
            param=limits.param,
            code="image_too_large",
        )


def _frames(image: Image.Image, file: BinaryIO, most: int) -> int:
    if image.format != "GIF":
        return int(getattr(image, "n_frames", 1))  # stands in the headers of the other formats
    position = file.tell()
    file.seek(0)
    try:
        return count_frames(file, most)
    finally:
        file.seek(position)


def _plain(image: Image.Image) -> Image.Image:
    """Upright RGB pixels of a decoded picture, in an image of their own."""
    pixels = _upright(image, _rgb(image))
    made = Image.new("RGB", pixels.size)
    made.paste(pixels)
    return made


def _upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """The pixels turned as the picture that they are of says."""
    turn = _UPRIGHT.get(_orientation(image))
    return pixels if turn is None else pixels.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """1 where EXIF is broken or says nothing: that is no reason to refuse a picture that can be seen."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _UNREADABLE:
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
        wide = np.asarray(image).astype(np.int64)
        return Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return image.convert("RGB")


def _too_large(limits: ImageLimits) -> JobError:
    return JobError(
        f"The picture has too many pixels; at most {limits.max_pixels} are taken (width times height).",
        param=limits.param,
        code="image_too_large",
    )


def _unusable(limits: ImageLimits, message: str) -> JobError:
    return JobError(message, param=limits.param, code="invalid_image")
