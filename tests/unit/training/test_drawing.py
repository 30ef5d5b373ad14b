"""Drawings show what their captions say."""

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.training.test_world import pairs, singles
from training.drawing import PAINT, SHADE, draw, place
from training.world import Scene, Thing

seeds = st.integers(0, 2**32)


@settings(max_examples=500)
@given(pairs, seeds)
def test_two_things_stand_apart_and_as_they_are_said_to(scene: Scene, seed: int) -> None:
    first, second = place(scene, random.Random(seed))
    (x1, y1), (x2, y2) = first.centre, second.centre
    assert math.dist(first.centre, second.centre) > first.radius + second.radius
    along, across = (x2 - x1, y2 - y1) if scene.relation == "left of" else (y2 - y1, x2 - x1)
    assert along > 2 * abs(across)


@given(singles | pairs, seeds)
def test_things_are_inside_the_picture_and_of_their_size(scene: Scene, seed: int) -> None:
    for placed in place(scene, random.Random(seed)):
        assert all(placed.radius <= part <= 1 - placed.radius for part in placed.centre)
        assert (placed.radius > 0.165) == (placed.thing.size == "large")


@settings(max_examples=30)
@given(singles, seeds)
def test_colours_are_those_that_are_said(scene: Scene, seed: int) -> None:
    side = 96
    image = draw(scene, random.Random(seed), side)
    (placed,) = place(scene, random.Random(seed))
    x, y = (int(part * side) for part in placed.centre)
    middle = scene.background if placed.thing.shape == "ring" else placed.thing.colour
    assert image.size == (side, side)
    assert near(image.getpixel((x, y)), middle)
    assert near(image.getpixel((0, 0)), scene.background)


def test_no_two_drawings_are_alike() -> None:
    chance = random.Random(1)
    scene = Scene(Thing("red", "star", "large"), "white")
    assert len({draw(scene, chance, 48).tobytes() for _ in range(20)}) == 20


def near(pixel: object, colour: str) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - other) <= SHADE + 2 for one, other in zip(pixel, PAINT[colour], strict=True))
