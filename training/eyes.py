"""What the picture side of either model is taught beside captions: which shape stands in each patch.

Owns two small heads that are thrown away after training. Captions alone say little of shapes, which a network
of this kind takes many times as long to find by them.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from training.drawing import Placed
from training.pictures import PATCH, SIZE, Drawings
from training.world import RELATIONS, SHAPES, Scene

_SIDE = SIZE // PATCH
_SHARE = 0.5


class Eyes:
    """A model and the heads on its vision tower, whose states have `width` numbers."""

    def __init__(self, model: Any, width: int) -> None:
        self._shapes = nn.Linear(width, 1 + len(SHAPES))
        self._relations = nn.Linear(width, 1 + len(RELATIONS))
        self.network: Any = nn.ModuleDict(
            {"model": model, "shapes": self._shapes, "relations": self._relations}
        )
        """All that is trained together."""

    def loss(self, states: torch.Tensor, scenes: list[Scene], seen: Drawings) -> torch.Tensor:
        """`states`: [pictures, 1 + patches, width], of which the first is of the whole picture."""
        patches = torch.stack([_patches(things) for things in seen.things])
        relations = torch.tensor([_relation(scene) for scene in scenes])
        shapes = functional.cross_entropy(self._shapes(states[:, 1:]).flatten(0, 1), patches.flatten())
        return _SHARE * (shapes + functional.cross_entropy(self._relations(states[:, 0]), relations))


def _patches(things: list[Placed]) -> torch.Tensor:
    """Row by row, the shape whose circle the middle of a patch lies in, counted from 1; 0: none."""
    middles = (torch.arange(_SIDE) + 0.5) / _SIDE
    shapes = torch.zeros(_SIDE, _SIDE, dtype=torch.long)
    for placed in things:
        x, y = placed.centre
        inside = (middles[None, :] - x) ** 2 + (middles[:, None] - y) ** 2 < placed.radius**2
        shapes[inside] = 1 + SHAPES.index(placed.thing.shape)
    return shapes.flatten()


def _relation(scene: Scene) -> int:
    return 1 + RELATIONS.index(scene.relation) if scene.relation else 0
