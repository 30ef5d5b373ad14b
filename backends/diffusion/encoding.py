"""Pictures as files, with nothing of where they come from in them."""

import io
from typing import Any

from PIL import Image

from backends.protocol import PictureFormat

_PNG_LEVEL = 4
"""Of zlib's 9: 6, the default, takes twice as long for a few per cent."""


def encode(image: Image.Image, format: PictureFormat, compression: int) -> bytes:
    """`compression`: quality of jpeg and webp, 0 to 100; -1: the library's default."""
    file = io.BytesIO()
    options: dict[str, Any] = {} if compression < 0 else {"quality": compression}
    if format == "png":
        options = {"compress_level": _PNG_LEVEL}
    bare = image.copy()
    bare.info.clear()  # which Pillow may write
    bare.save(file, format.upper(), **options)
    return file.getvalue()
