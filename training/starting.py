"""Where the vision towers start from: every head looks at one neighbour of a patch, as a convolution does.

A transformer that starts from chance must first find out which patches are neighbours, which takes it longer
than all the rest of this world. Owns that start: places of patches as waves along either axis in the first
numbers of a state, patches in the others, and queries and keys that find the place some steps further on.
Training may change all of it. After "Structured Initialization for Attention in Vision Transformers" (Zheng,
Li, Lucey, 2024).
"""

from collections.abc import Sequence
from itertools import cycle

import torch
from msgspec import Struct

_WAVES = (2.2, 1.4, 0.9, 0.5)
"""Radians a patch."""
CODED = 4 * len(_WAVES)
"""Numbers of a state that say where its patch is: the width of a head."""
_SHARPNESS = 1.7
_PATCH_SPREAD = 0.06
_STEPS = (
    ((1, 0), (-1, 0), (0, 1), (0, -1)),
    ((1, 1), (-1, 1), (1, -1), (-1, -1)),
    ((2, 0), (-2, 0), (0, 2), (0, -2)),
)
"""Layer by layer and head by head, how far to look: patches to the right, and down."""


class Tower(Struct, frozen=True):
    """The weights of a vision tower that are set, whoever's it is."""

    positions: torch.Tensor
    """[1 + patches, width]; the first is that of the whole picture."""
    patch: torch.Tensor
    """[width, channels, patch, patch]."""
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]]
    """Queries and keys of each layer, [width, width]."""


def look_around(tower: Tower) -> None:
    """Changes the weights in place."""
    side = round((len(tower.positions) - 1) ** 0.5)
    tower.positions.zero_()
    tower.positions[1:, :CODED] = torch.tensor([_code(x, y) for y in range(side) for x in range(side)])
    tower.patch.normal_(0, _PATCH_SPREAD)
    tower.patch[:CODED] = 0
    for (query, key), steps in zip(tower.layers, cycle(_STEPS), strict=False):
        for weights in (query, key):
            weights.normal_(0, 0.02)
        for head, (right, down) in enumerate(steps):
            rows = slice(head * CODED, (head + 1) * CODED)
            query[rows, :CODED] = _SHARPNESS * torch.eye(CODED)
            key[rows, :CODED] = _SHARPNESS * _turned(right, down)


def _code(x: float, y: float) -> list[float]:
    angles = torch.tensor([[wave * place for wave in _WAVES] for place in (x, y)]).flatten()
    return [number for angle in angles.tolist() for number in _circle(angle)]


def _circle(angle: float) -> tuple[float, float]:
    turned = torch.tensor(angle)
    return float(turned.cos()), float(turned.sin())


def _turned(right: int, down: int) -> torch.Tensor:
    """What makes the code of a place that of the place so many steps to the left and up."""
    made = torch.zeros(CODED, CODED)
    for number, angle in enumerate(wave * steps for steps in (right, down) for wave in _WAVES):
        cos, sin = _circle(angle)
        here = slice(2 * number, 2 * number + 2)
        made[here, here] = torch.tensor([[cos, sin], [-sin, cos]])
    return made
