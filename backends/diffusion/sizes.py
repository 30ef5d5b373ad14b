"""Which sizes a model paints. Pure.

A model paints best in the area that it was trained on, in whatever shape.
"""

import math
import re
from collections.abc import Sequence

Size = tuple[int, int]
"""Width and height, pixels."""

MULTIPLE = 8
SMALLEST, LARGEST = 64, 4096
_NAME = re.compile(r"(\d{1,5})x(\d{1,5})")
_SHAPES: tuple[Size, ...] = (
    *((1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216)),
    *((1344, 768), (768, 1344)),
)
"""About a megapixel each: 1:1, 9:7, 7:9, 3:2, 2:3, 7:4 and 4:7."""
_SHAPES_EDGE = 1024


def native_sizes(edge: int) -> list[Size]:
    """The usual shapes in the area of `edge` squared, the square first."""
    return list(dict.fromkeys((_rounded(width * edge), _rounded(height * edge)) for width, height in _SHAPES))


def parse(name: str) -> Size:
    """Raises ValueError for what is no WIDTHxHEIGHT that can be painted at all."""
    match = _NAME.fullmatch(name)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(SMALLEST <= side <= LARGEST and side % MULTIPLE == 0 for side in size):
        raise ValueError(
            f"sizes: {name!r} is no WIDTHxHEIGHT of multiples of {MULTIPLE} from {SMALLEST} to {LARGEST}"
        )
    return size


def named(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def nearest(sizes: Sequence[Size], picture: Size) -> Size:
    """Of these the one whose shape is most like the picture's, and then whose area is."""
    return min(
        sizes, key=lambda size: (round(_distance(_shape(size), _shape(picture)), 6), _areas(size, picture))
    )


def _shape(size: Size) -> float:
    return size[0] / size[1]


def _areas(one: Size, other: Size) -> float:
    return _distance(one[0] * one[1], other[0] * other[1])


def _distance(one: float, other: float) -> float:
    return abs(math.log(one / other))


def _rounded(scaled: int) -> int:
    return max(MULTIPLE, round(scaled / _SHAPES_EDGE / MULTIPLE) * MULTIPLE)
