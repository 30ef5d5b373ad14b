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
_SETS_ASIDE = 8
"""One combination of so many is never trained on."""


class Thing(Struct, frozen=True):
    colour: str
    shape: str
    size: str = ""
    """Empty: the words leave it out."""

    @property
    def words(self) -> str:
        return " ".join(word for word in (self.size, self.colour, self.shape) if word)


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


def single_captions() -> list[str]:
    """Of every scene with one thing: its size, colour, shape and background."""
    return [
        caption(Scene(Thing(colour, shape, size), background))
        for size, colour, shape, background in product(SIZES, COLOURS, SHAPES, BACKGROUNDS)
    ]


def words() -> list[str]:
    """All words of all captions."""
    said = ("a", "an", "on", "background", *" ".join(RELATIONS).split())
    return [*said, *SIZES, *COLOURS, *SHAPES, *BACKGROUNDS]


def leave_out(scene: Scene, chance: random.Random) -> Scene:
    """The same scene with less said of it: the background, sizes, and of a single thing its colour."""
    first = replace(scene.first, size="") if chance.random() < 0.5 else scene.first
    second = scene.second and replace(scene.second, size=first.size and scene.second.size)
    if second is None and chance.random() < 0.4:
        first = replace(first, colour="")
    background = "" if chance.random() < 0.7 else scene.background
    return Scene(first, background, scene.relation, second)


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
