"""What CLIP reads beside the drawings of a step: whole captions, captions that say less, and single facts.

Whole captions alone are learnt by heart, combination by combination. That a red shape, a star and a small
shape each have their place in the space, and a small red star the place that these make, is what carries over
to combinations that training never sees. Must not know the network.
"""

import random

import numpy as np
import torch
from torch.nn import functional

from training.contrast import contrast
from training.world import Scene, facts, leave_out, other_scenes, single_facts, single_scenes

_ONE_THING = [scene for scene in single_scenes() if not scene.held_out]
_FACTS = single_facts()
_FACTS_SHARE = 0.5
"""Of the loss of each kind of fact."""
_OTHERS = 160
"""Captions of one thing that each drawing is told apart from in a step."""
_WRONG = 2
"""Captions beside each right one of two things that say one thing otherwise."""


class Texts:
    """Of one step."""

    def __init__(self, scenes: list[Scene], chance: random.Random) -> None:
        self._scenes = scenes
        self._whole = list(
            dict.fromkeys(
                [
                    *chance.sample(_ONE_THING, _OTHERS),
                    *scenes,
                    *(other for scene in scenes if scene.second for other in _otherwise(scene, chance)),
                ]
            )
        )
        self._own_less = [leave_out(scene, chance) for scene in scenes]
        self._less = list(dict.fromkeys(self._own_less))
        self.said = [*self._whole, *self._less, *(fact for kind in _FACTS for fact in kind)]

    def loss(self, likeness: torch.Tensor) -> torch.Tensor:
        """`likeness`: [scenes, said]."""
        whole, less, facts = likeness.split(
            [len(self._whole), len(self._less), sum(map(len, _FACTS))],
            dim=1,
        )
        loss = self._contrast(whole, self._whole, self._scenes) + self._contrast(
            less, self._less, self._own_less
        )
        single = torch.tensor([scene.second is None for scene in self._scenes])
        for kind, part in zip(_FACTS, facts.split([len(kind) for kind in _FACTS], dim=1), strict=True):
            own = truth(self._scenes, kind)[single].int().argmax(dim=1)
            loss = loss + _FACTS_SHARE * functional.cross_entropy(part[single], own)
        return loss

    def _contrast(self, likeness: torch.Tensor, texts: list[Scene], own: list[Scene]) -> torch.Tensor:
        places = torch.tensor([texts.index(one) for one in own])
        return contrast(likeness, places, truth(self._scenes, texts))


def truth(scenes: list[Scene], texts: list[Scene]) -> torch.Tensor:
    """[scenes, texts]: whether all holds that the text says."""
    seen, said = np.array(list(map(facts, scenes))), np.array(list(map(facts, texts)))
    return torch.from_numpy(((said[None] == "") | (said[None] == seen[:, None])).all(axis=2))


def _otherwise(scene: Scene, chance: random.Random) -> list[Scene]:
    others = [other for other in other_scenes(scene) if other != scene and not other.held_out]
    return chance.sample(others, _WRONG)
