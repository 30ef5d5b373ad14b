"""The drawn world's grammar, and what is set aside of it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.world import (
    BACKGROUNDS,
    COLOURS,
    RELATIONS,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    caption,
    facts,
    leave_out,
    other_scenes,
    single_facts,
    single_scenes,
    some_scene,
    words,
)

things = st.builds(Thing, st.sampled_from(COLOURS), st.sampled_from(SHAPES), st.sampled_from(SIZES))
singles = st.builds(Scene, things, st.sampled_from(BACKGROUNDS))
pairs = st.builds(Scene, things, st.sampled_from(BACKGROUNDS), st.sampled_from(RELATIONS), things)
RED, BLUE = Thing("red", "circle", "small"), Thing("orange", "star", "large")


@pytest.mark.parametrize(
    ("scene", "said"),
    [
        (Scene(RED, "white"), "a small red circle on a white background"),
        (
            Scene(RED, "black", "left of", BLUE),
            "a small red circle left of a large orange star on a black background",
        ),
        (Scene(Thing("orange", "star"), ""), "an orange star"),
        (Scene(Thing("", "star"), "grey"), "a star on a grey background"),
        (Scene(Thing("orange", ""), ""), "an orange shape"),
        (Scene(Thing("", "", "small"), "grey"), "a small shape on a grey background"),
    ],
)
def test_how_a_scene_is_said(scene: Scene, said: str) -> None:
    assert caption(scene) == said


@given(singles | pairs)
def test_every_word_is_known(scene: Scene) -> None:
    assert set(caption(scene).split()) <= set(words())


def test_every_single_thing_has_a_caption_of_its_own() -> None:
    captions = list(map(caption, single_scenes()))
    assert len(set(captions)) == len(captions) == 384


def test_what_is_set_aside_never_changes() -> None:
    """The weights that are shipped were trained without exactly these."""
    alone = [Scene(Thing(colour, shape), "") for colour in COLOURS for shape in SHAPES]
    assert [caption(scene) for scene in alone if scene.held_out] == [
        "a red ring",
        "an orange circle",
        "an orange star",
        "a pink square",
    ]


def test_single_facts_say_one_thing_each() -> None:
    said = [[caption(scene) for scene in kind] for kind in single_facts()]
    assert [len(kind) for kind in said] == [8, 6, 2, 4]
    assert [kind[0] for kind in said] == [
        "a red shape",
        "a circle",
        "a small shape",
        "a shape on a white background",
    ]


@given(pairs, things, st.sampled_from(BACKGROUNDS))
def test_sizes_and_background_make_no_other_combination(scene: Scene, other: Thing, background: str) -> None:
    changed = Scene(
        Thing(scene.first.colour, scene.first.shape, other.size), background, scene.relation, scene.second
    )
    assert (changed.combination, changed.held_out) == (scene.combination, scene.held_out)


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([1, 2]))
def test_scenes_keep_to_their_side(seed: int, held_out: bool, count: int) -> None:
    scene = some_scene(random.Random(seed), held_out=held_out, things=count)
    assert scene.held_out == held_out
    assert (scene.second is None) == (count == 1)


def test_about_one_pair_in_eight_is_set_aside() -> None:
    chance = random.Random(1)
    scenes = [
        Scene(
            Thing(chance.choice(COLOURS), chance.choice(SHAPES)),
            "",
            chance.choice(RELATIONS),
            Thing(chance.choice(COLOURS), chance.choice(SHAPES)),
        )
        for _ in range(4000)
    ]
    assert 0.10 < sum(scene.held_out for scene in scenes) / len(scenes) < 0.15


@given(singles | pairs, st.integers(0, 2**32))
def test_what_is_left_out_makes_nothing_false(scene: Scene, seed: int) -> None:
    less = leave_out(scene, random.Random(seed))
    assert all(one in ("", other) for one, other in zip(facts(less), facts(scene), strict=True))
    if less.second is not None:
        assert less.first.colour
        assert less.first.shape


@given(singles | pairs)
def test_others_say_something_else(scene: Scene) -> None:
    others = [other for other in other_scenes(scene) if other != scene]
    assert len(others) > 2
    assert all(caption(other) != caption(scene) for other in others)
