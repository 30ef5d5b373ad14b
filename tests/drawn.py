"""Pictures that the tests of painting send and get back."""

import base64
import io

import numpy as np
from PIL import Image

PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
MASK = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
MASK.paste((0, 0, 0, 0), (16, 16, 48, 48))
HOLE = np.asarray(MASK)[..., 3] == 0
"""Where the mask is transparent."""


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def opened(b64: str | None) -> Image.Image:
    """The picture in an answer."""
    assert b64
    return Image.open(io.BytesIO(base64.b64decode(b64)))
