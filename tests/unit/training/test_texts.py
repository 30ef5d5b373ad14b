"""What CLIP reads beside drawings, and what the loss makes of right and wrong likenesses."""

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.texts import Texts, truth
from training.world import Scene, Thing, some_scene

STAR = Scene(Thing("red", "star", "small"), "white")


def _scenes(seed: int) -> list[Scene]:
    chance = random.Random(seed)
    return [some_scene(chance, held_out=False, things=1 + row % 2) for row in range(6)]


def test_a_text_holds_when_all_that_it_says_is_seen() -> None:
    texts = [STAR, Scene(Thing("red", ""), ""), Scene(Thing("", "ring"), ""), Scene(Thing("", ""), "white")]
    assert truth([STAR], texts).tolist() == [[True, True, False, True]]


@given(st.integers(0, 2**32))
def test_nothing_is_said_that_is_set_aside(seed: int) -> None:
    said = Texts(_scenes(seed), random.Random(seed)).said
    assert not [scene for scene in said if scene.first.colour and scene.first.shape and scene.held_out]


def test_the_loss_is_small_only_for_what_is_true() -> None:
    scenes = _scenes(1)
    texts = Texts(scenes, random.Random(1))
    right = truth(scenes, texts.said).float()
    assert texts.loss(50 * right) < 0.1 < texts.loss(-50 * right)
    one_wrong = 50 * right
    one_wrong[0] = torch.where(right[0] > 0, 0.0, 50.0)
    assert texts.loss(one_wrong) > 1
