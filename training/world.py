"""The drawn world: what there is to see in it, and how its captions say so.

Owns the grammar of captions, and which combinations training never sees. Must not draw.
"""

import hashlib
import random
from collections.abc import Iterator
from itertools import product

from msgspec import Struct
from msgspec.structs import replace

SIZES = ("small", "large")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
BACKGROUNDS = ("white", "grey", "black", "brown")
RELATIONS = ("left of", "above")
SOME_SHAPE = "shape"
"""Stands in a caption that leaves the shape out."""
_SETS_ASIDE = 8
"""One combination of so many is never trained on."""


class Thing(Struct, frozen=True):
    """Empty: the words leave it out."""

    colour: str
    shape: str
    size: str = ""

    @property
    def words(self) -> str:
        return " ".join(word for word in (self.size, self.colour, self.shape or SOME_SHAPE) if word)


class Scene(Struct, frozen=True):
    """One thing, or two of which `first` stands so to `second`."""

    first: Thing
    background: str
    """Empty: the words leave it out."""
    relation: str = ""
    second: Thing | None = None

    @property
    def combination(self) -> str:
        """What is set aside as a whole: shapes, colours and relation, whatever sizes and background."""
        return caption(
            Scene(_plain(self.first), "", self.relation, self.second and _plain(self.second)),
        )

    @property
    def held_out(self) -> bool:
        """Whether training never sees it, by a rule that never changes."""
        digest = hashlib.sha256(self.combination.encode()).digest()
        return digest[0] % _SETS_ASIDE == 0


def caption(scene: Scene) -> str:
    """`a small red circle left of a large blue square on a white background`, and less where less is said."""
    words = f"{_article(scene.first.words)} {scene.first.words}"
    if scene.second is not None:
        words += f" {scene.relation} {_article(scene.second.words)} {scene.second.words}"
    return words + (f" on a {scene.background} background" if scene.background else "")


def some_scene(chance: random.Random, *, held_out: bool, things: int) -> Scene:
    """Any scene with so many things, in training or held out."""
    while True:
        scene = _any_scene(chance, things)
        if scene.held_out == held_out:
            return scene


def single_scenes() -> list[Scene]:
    """Every scene with one thing: its size, colour, shape and background."""
    return [
        Scene(Thing(colour, shape, size), background)
        for size, colour, shape, background in product(SIZES, COLOURS, SHAPES, BACKGROUNDS)
    ]


def single_facts() -> list[list[Scene]]:
    """Captions of one thing that say but its colour, shape, size or background: a list of each kind."""
    return [
        [Scene(Thing(colour, ""), "") for colour in COLOURS],
        [Scene(Thing("", shape), "") for shape in SHAPES],
        [Scene(Thing("", "", size), "") for size in SIZES],
        [Scene(Thing("", ""), background) for background in BACKGROUNDS],
    ]


def words() -> list[str]:
    """All words of captions that leave no shape out."""
    said = ("a", "an", "on", "background", *" ".join(RELATIONS).split())
    return [*said, *SIZES, *COLOURS, *SHAPES, *BACKGROUNDS]


def leave_out(scene: Scene, chance: random.Random) -> Scene:
    """The same scene with less said of it; colours and shapes of two things stay, they tell them apart."""
    background = scene.background if chance.random() < 0.5 else ""
    size = scene.first.size if chance.random() < 0.5 else ""
    if scene.second is not None:
        second = replace(scene.second, size=size and scene.second.size)
        return Scene(replace(scene.first, size=size), background, scene.relation, second)
    colour = scene.first.colour if chance.random() < 0.5 else ""
    shape = scene.first.shape if chance.random() < 0.5 else ""
    return Scene(Thing(colour, shape, size), background)


def facts(scene: Scene) -> tuple[str, ...]:
    """What is said or seen, thing by thing; empty where it is left out."""
    second = scene.second or Thing("", "nothing")
    things = [fact for thing in (scene.first, second) for fact in (thing.colour, thing.shape, thing.size)]
    return scene.background, scene.relation or "alone", *things


def other_scenes(scene: Scene) -> Iterator[Scene]:
    """Scenes that say one thing otherwise."""
    for background in BACKGROUNDS if scene.background else ():
        yield replace(scene, background=background)
    for first in _others(scene.first):
        yield replace(scene, first=first)
    if scene.second is not None:
        for second in _others(scene.second):
            yield replace(scene, second=second)
        for relation in RELATIONS:
            yield replace(scene, relation=relation)
        yield replace(scene, first=scene.second, second=scene.first)


def _others(thing: Thing) -> Iterator[Thing]:
    for shape in SHAPES:
        yield replace(thing, shape=shape)
    for colour in COLOURS if thing.colour else ():
        yield replace(thing, colour=colour)
    for size in SIZES if thing.size else ():
        yield replace(thing, size=size)


def _any_scene(chance: random.Random, things: int) -> Scene:
    background = chance.choice(BACKGROUNDS)
    if things == 1:
        return Scene(_any_thing(chance), background)
    return Scene(_any_thing(chance), background, chance.choice(RELATIONS), _any_thing(chance))


def _any_thing(chance: random.Random) -> Thing:
    return Thing(chance.choice(COLOURS), chance.choice(SHAPES), chance.choice(SIZES))


def _plain(thing: Thing) -> Thing:
    return Thing(thing.colour, thing.shape)


def _article(words: str) -> str:
    return "an" if words.startswith(tuple("aeiou")) else "a"
