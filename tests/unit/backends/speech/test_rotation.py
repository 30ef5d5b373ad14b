"""Who speaks when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backends.speech.rotation import Rotation


def order(pieces: dict[str, int], width: int) -> list[list[str]]:
    """Who spoke in each step, each stream so many pieces."""
    rotation: Rotation[str] = Rotation(width)
    left = dict(pieces)
    for name in pieces:
        rotation.join(name)
    steps = []
    while len(rotation):
        turn = rotation.turn()
        steps.append(turn)
        for name in turn:
            left[name] -= 1
            if left[name]:
                rotation.yield_turn(name)
            else:
                rotation.leave(lambda other, name=name: other == name)  # type: ignore[misc]
    return steps


def test_a_short_text_is_done_while_a_long_one_goes_on() -> None:
    assert order({"long": 4, "short": 1}, 1) == [["long"], ["short"], ["long"], ["long"], ["long"]]


def test_as_many_speak_at_once_as_there_is_width() -> None:
    assert order({"a": 2, "b": 1, "c": 2}, 2) == [["a", "b"], ["c", "a"], ["c"]]


def test_one_in_the_midst_of_a_piece_keeps_its_turn() -> None:
    rotation: Rotation[str] = Rotation(1)
    rotation.join("a")
    rotation.join("b")
    assert [rotation.turn(), rotation.turn()] == [["a"], ["a"]]
    rotation.yield_turn("a")
    assert rotation.turn() == ["b"]


def test_leaving_takes_out_speakers_and_those_who_wait() -> None:
    rotation: Rotation[str] = Rotation(1)
    for name in ("a1", "b", "a2"):
        rotation.join(name)
    rotation.turn()
    assert rotation.leave(lambda name: name.startswith("a")) == ["a1", "a2"]
    assert rotation.turn() == ["b"]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 3))
def test_nobody_waits_for_more_than_one_piece_of_each_other(lengths: list[int], width: int) -> None:
    steps = order({str(index): length for index, length in enumerate(lengths)}, width)
    spoken = [name for step in steps for name in step]
    assert sorted(spoken) == sorted(str(i) for i, length in enumerate(lengths) for _ in range(length))
    for name in {*spoken}:
        places = [place for place, other in enumerate(spoken) if other == name]
        for one, next_one in pairwise(places):
            between = spoken[one + 1 : next_one]
            assert len(between) == len({*between})
