"""Drawings as the numbers that the networks take: what the product's own preprocessing makes of them."""

import random

import torch
from msgspec import Struct

from backends.vision.preprocessing import Preprocessing, fit
from backends.vision.tensors import pixel_values
from training.drawing import Placed, paint, place
from training.world import Scene

SIZE = 48
PATCH = 6
MEAN = [0.5, 0.5, 0.5]
STD = [0.25, 0.25, 0.25]
HOW = Preprocessing(width=SIZE, height=SIZE, shortest_edge=0, resample=3, scale=1 / 255, mean=MEAN, std=STD)
_SIDES = (96, 144, 192)


class Drawings(Struct, frozen=True):
    pixels: torch.Tensor
    """[drawings, channels, height, width]."""
    things: list[list[Placed]]
    """Of each drawing, where they stand."""


def drawings(scenes: list[Scene], chance: random.Random) -> Drawings:
    """A fresh drawing of each; its edges are hard until it is brought to the size of the model."""
    things = [place(scene, chance) for scene in scenes]
    rows = [
        fit(paint(scene, placed, chance, chance.choice(_SIDES)), HOW)
        for scene, placed in zip(scenes, things, strict=True)
    ]
    return Drawings(pixel_values(rows, HOW, torch.device("cpu")), things)
