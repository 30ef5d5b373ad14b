"""Draws scenes of the world with Pillow: never twice the same, and every time what the caption says.

Owns geometry and paint. Place, size, angle and shade differ within bounds that keep the words true: small and
large never meet, two things never touch, and the nearest of two colours stay apart.
"""

import math
import random

from msgspec import Struct
from PIL import Image, ImageDraw

from training.world import Scene, Thing

PAINT = {
    "red": (215, 35, 35),
    "orange": (250, 140, 20),
    "yellow": (245, 225, 50),
    "green": (40, 160, 60),
    "cyan": (60, 210, 220),
    "blue": (40, 70, 215),
    "purple": (130, 45, 165),
    "pink": (250, 130, 190),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "black": (15, 15, 15),
    "brown": (105, 68, 40),
}
SHADE = 12
"""Most that a channel of a colour moves, of 255."""
RADIUS = {"small": (0.115, 0.14), "large": (0.19, 0.22)}
"""Of the circle around a thing, in sides of the picture."""
TURN_DEGREES = 15.0
_MARGIN = 0.02
_GAP = 0.04
_OFF_LINE = 0.07
"""Most that the second of two things stands off the line through the first."""
_OVERSAMPLE = 4

Point = tuple[float, float]


class Placed(Struct, frozen=True):
    thing: Thing
    centre: Point
    radius: float
    """In sides of the picture, as `centre` is."""


def draw(scene: Scene, chance: random.Random, side: int = 192) -> Image.Image:
    """A square RGB picture of `side` pixels with smooth edges: it is drawn larger first."""
    return paint(scene, place(scene, chance), chance, side * _OVERSAMPLE).reduce(_OVERSAMPLE)


def paint(scene: Scene, things: list[Placed], chance: random.Random, side: int) -> Image.Image:
    """The scene with its things where they were placed; edges are hard."""
    image = Image.new("RGB", (side, side), _paint(scene.background, chance))
    pen = ImageDraw.Draw(image)
    for placed in things:
        _draw_thing(pen, placed, chance, side, image.getpixel((0, 0)))
    return image


def place(scene: Scene, chance: random.Random) -> list[Placed]:
    """Where the things of the scene stand in one drawing of it, in its order."""
    first = chance.uniform(*RADIUS[scene.first.size])
    if scene.second is None:
        centre = (_between(chance, first), _between(chance, first))
        return [Placed(scene.first, centre, first)]
    second = chance.uniform(*RADIUS[scene.second.size])
    apart = first + second + _GAP
    along = chance.uniform(_MARGIN + first, 1 - _MARGIN - second - apart)
    beyond = chance.uniform(along + apart, 1 - _MARGIN - second)
    across = _between(chance, max(first, second))
    near = max(_MARGIN + second, across - _OFF_LINE), min(1 - _MARGIN - second, across + _OFF_LINE)
    centres = [(along, across), (beyond, chance.uniform(*near))]
    if scene.relation == "above":
        centres = [(y, x) for x, y in centres]
    return [Placed(scene.first, centres[0], first), Placed(scene.second, centres[1], second)]


def _between(chance: random.Random, radius: float) -> float:
    return chance.uniform(_MARGIN + radius, 1 - _MARGIN - radius)


def _draw_thing(
    pen: ImageDraw.ImageDraw, placed: Placed, chance: random.Random, side: int, behind: object
) -> None:
    x, y, radius = placed.centre[0] * side, placed.centre[1] * side, placed.radius * side
    paint = _paint(placed.thing.colour, chance)
    turn = math.radians(chance.uniform(-TURN_DEGREES, TURN_DEGREES))
    match placed.thing.shape:
        case "circle":
            pen.ellipse(_around(x, y, radius * 0.9), fill=paint)
        case "ring":
            pen.ellipse(_around(x, y, radius * 0.95), fill=paint)
            pen.ellipse(_around(x, y, radius * 0.5), fill=behind)  # type: ignore[arg-type]
        case shape:
            outline = [(math.radians(angle) + turn, share) for angle, share in _OUTLINES[shape]]
            pen.polygon(
                [
                    (x + radius * share * math.sin(angle), y - radius * share * math.cos(angle))
                    for angle, share in outline
                ],
                fill=paint,
            )


def _around(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _paint(colour: str, chance: random.Random) -> tuple[int, int, int]:
    if colour in ("white", "grey", "black"):
        shift = chance.randint(-SHADE, SHADE)
        red, green, blue = (channel + shift for channel in PAINT[colour])
    else:
        red, green, blue = (channel + chance.randint(-SHADE, SHADE) for channel in PAINT[colour])
    return min(255, max(0, red)), min(255, max(0, green)), min(255, max(0, blue))


_ARM = 0.34
"""Half the width of a cross's arm, in radii."""
_TIP = math.hypot(_ARM, 0.92)
_TIP_ANGLE = math.degrees(math.atan2(_ARM, 0.92))
_OUTLINES: dict[str, list[Point]] = {
    "square": [(45 + 90 * corner, 1.0) for corner in range(4)],
    "triangle": [(120 * corner, 1.0) for corner in range(3)],
    "star": [(36 * corner, 0.42 if corner % 2 else 1.0) for corner in range(10)],
    "cross": [
        (90 * arm + angle, share)
        for arm in range(4)
        for angle, share in ((-_TIP_ANGLE, _TIP), (_TIP_ANGLE, _TIP), (45, _ARM * math.sqrt(2)))
    ],
}
"""Corners of a thing that stands upright: degrees clockwise from the top, and the share of the radius."""
