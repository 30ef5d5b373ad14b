"""Who may join: those with nothing to gain by waiting; and everybody has a turn."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.admission import Turns, joinable
from backends.llama_cpp.model import TokenArray

LONG = list(range(100))


@dataclass(eq=False)
class R:
    tokens: list[int]
    held: int = 0
    key: str = ""
    history: TokenArray = field(init=False)

    def __post_init__(self) -> None:
        self.history = np.array([*self.tokens, 0, 0, 0], dtype=np.int32)

    @property
    def length(self) -> int:
        return len(self.tokens)


def nothing(_: R) -> int:
    return 0


def test_as_many_as_there_are_places_join_in_order() -> None:
    rows = [R([index]) for index in range(4)]
    assert joinable(rows, [], 2, nothing) == rows[:2]


def test_who_begins_like_one_in_the_making_waits_and_the_next_overtakes() -> None:
    running, same, other = R(LONG, held=10), R([*LONG[:40], 7]), R([9] * 50)
    assert joinable([same, other], [running], 4, nothing) == [other]


def test_who_begins_like_one_that_joins_now_waits_too() -> None:
    first, second = R(LONG), R(LONG)
    assert joinable([first, second], [], 4, nothing) == [first]


def test_a_beginning_that_is_computed_is_not_waited_for() -> None:
    same = R([*LONG[:40], 7])
    assert joinable([same], [R(LONG, held=99)], 4, nothing) == [same]
    more = R([*LONG[:40], *[7] * 10])
    assert joinable([more], [R(LONG, held=35)], 4, lambda _: 35) == [more]


def test_the_last_piece_of_the_same_prompt_is_waited_for() -> None:
    running, same = R(LONG, held=80), R(LONG)
    assert joinable([same], [running], 4, lambda _: 80) == []


def test_a_short_common_beginning_is_not_waited_for() -> None:
    same = R([*LONG[:31], 7])
    assert joinable([same], [R(LONG)], 4, nothing) == [same]


def test_other_adapters_are_not_waited_for() -> None:
    same = R(LONG, key="a")
    assert joinable([same], [R(LONG)], 4, nothing) == [same]


def test_where_nothing_is_shared_nobody_waits() -> None:
    rows = [R(LONG), R(LONG), R(LONG)]
    assert joinable(rows, [R(LONG)], 2, None) == rows[:2]


_PROMPTS = st.lists(
    st.builds(lambda cut, tail: [*LONG[:cut], 200, *tail], st.integers(0, 99), st.lists(st.integers(1, 3))),
    min_size=1,
    max_size=8,
)


@given(_PROMPTS, st.integers(1, 4))
def test_everybody_joins_in_the_end(prompts: list[list[int]], places: int) -> None:
    waiting = [R(prompt) for prompt in prompts]
    running: list[R] = []
    while waiting:
        joining = joinable(waiting, running, places - len(running), nothing)
        assert joining or running, "with nobody running somebody joins"
        running += joining
        waiting = [row for row in waiting if row not in joining]
        for row in running:
            row.held = row.length - 1
        running = running[1:]


@given(st.lists(st.sets(st.sampled_from(["", "a", "b", "c"]), min_size=1), min_size=1, max_size=30))
def test_nobody_who_wants_a_turn_is_passed_over_twice_by_the_same(wanted: list[set[str]]) -> None:
    turns = Turns()
    since: dict[str, list[str]] = {}
    for keys in wanted:
        chosen = turns.choose(sorted(keys))
        assert chosen in keys
        since = {key: since.get(key, []) for key in keys}
        since[chosen] = []
        for key, others in since.items():
            if key != chosen:
                others.append(chosen)
                assert others.count(chosen) == 1


def test_groups_take_turns() -> None:
    turns = Turns()
    assert [turns.choose(["b", "", "a", "a"]) for _ in range(4)] == ["a", "b", "", "a"]
