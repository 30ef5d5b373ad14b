"""Pictures to send: PNG files of a few plain things on noise, no two alike, drawn with Pillow."""

import io
import random

from PIL import Image, ImageDraw

_SIDE = 256
_THINGS = 4


def drawn(number: int) -> bytes:
    chance = random.Random(number)
    image = Image.effect_noise((_SIDE, _SIDE), 20).convert("RGB")
    pen = ImageDraw.Draw(image)
    for _ in range(_THINGS):
        x, y, size = (chance.randrange(_SIDE // 2) for _ in range(3))
        paint = tuple(chance.randrange(256) for _ in range(3))
        box = (x, y, x + 20 + size, y + 20 + size)
        chance.choice((pen.ellipse, pen.rectangle))(box, fill=paint)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
