"""Who speaks when."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.speech.rotation import Rotation


def order(pieces: dict[str, int]) -> list[str]:
    """Who spoke in each step, each stream so many pieces."""
    rotation: Rotation[str] = Rotation()
    left = dict(pieces)
    for name in pieces:
        rotation.join(name)
    spoken = []
    while len(rotation):
        name = rotation.turn()
        spoken.append(name)
        left[name] -= 1
        if left[name]:
            rotation.yield_turn()
        else:
            rotation.leave(lambda other, name=name: other == name)  # type: ignore[misc]
    return spoken


def test_a_short_text_is_done_while_a_long_one_goes_on() -> None:
    assert order({"long": 4, "short": 1}) == ["long", "short", "long", "long", "long"]


def test_one_in_the_midst_of_a_piece_keeps_its_turn() -> None:
    rotation: Rotation[str] = Rotation()
    rotation.join("a")
    rotation.join("b")
    assert [rotation.turn(), rotation.turn()] == ["a", "a"]
    rotation.yield_turn()
    assert rotation.turn() == "b"


def test_leaving_takes_out_the_speaker_and_those_who_wait() -> None:
    rotation: Rotation[str] = Rotation()
    for name in ("a1", "b", "a2"):
        rotation.join(name)
    rotation.leave(lambda name: name.startswith("a"))
    assert (rotation.turn(), len(rotation)) == ("b", 1)
    rotation.leave(lambda name: name == "b")
    with pytest.raises(IndexError):
        rotation.turn()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_nobody_waits_for_more_than_one_piece_of_each_other(lengths: list[int]) -> None:
    spoken = order({str(index): length for index, length in enumerate(lengths)})
    assert sorted(spoken) == sorted(str(i) for i, length in enumerate(lengths) for _ in range(length))
    for name in {*spoken}:
        places = [place for place, other in enumerate(spoken) if other == name]
        for one, next_one in pairwise(places):
            between = spoken[one + 1 : next_one]
            assert len(between) == len({*between})
