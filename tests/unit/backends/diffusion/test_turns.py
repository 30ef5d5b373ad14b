"""Who takes a step: decided of plain facts."""

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from backends.diffusion.turns import PATIENCE, may_begin, next_work, together


class Row(Struct):
    group: Hashable
    steps_left: int
    last_turn: int = 0
    cost: float = 1.0


def names(rows: list[Row], turn: int = 1, most: int = 8, budget: float = 100.0) -> list[int]:
    return together(rows, turn, most=most, budget=budget)


def test_all_of_one_size_share_a_step_wherever_they_are() -> None:
    assert sorted(names([Row("a", 1), Row("a", 30), Row("a", 7)])) == [0, 1, 2]


def test_other_sizes_wait() -> None:
    assert names([Row("a", 30), Row("b", 2), Row("a", 5), Row("b", 9)]) == [1, 3]


def test_a_short_one_goes_before_long_ones() -> None:
    assert names([Row("a", 30), Row("a", 30), Row("a", 1)], most=2) == [2, 0]


def test_no_more_than_fit_but_always_one() -> None:
    rows = [Row("a", left, cost=3.0) for left in (1, 2, 3)]
    assert names(rows, budget=6.5) == [0, 1]
    assert names(rows, budget=0.1) == [0]
    assert names(rows, most=1) == [0]


def test_one_that_was_passed_over_goes_first() -> None:
    rows = [Row("a", 1, last_turn=9), Row("b", 90, last_turn=9 - PATIENCE)]
    assert names(rows, turn=10) == [1]
    rows[1].last_turn += 1
    assert names(rows, turn=10) == [0]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_all_come_to_an_end_and_none_waits_long(drawn: list[tuple[str, int]], most: int) -> None:
    rows = [Row(group, left) for group, left in drawn]
    longest = PATIENCE + len(rows)
    turn = 0
    while rows:
        turn += 1
        chosen = [rows[place] for place in together(rows, turn, most=most, budget=100.0)]
        assert 1 <= len(chosen) <= most
        assert len({row.group for row in chosen}) == 1
        for row in chosen:
            assert turn - row.last_turn <= longest
            row.last_turn = turn
            row.steps_left -= 1
        rows = [row for row in rows if row.steps_left]
    assert turn <= sum(left for _, left in drawn)


def test_steps_and_decoding_take_turns() -> None:
    assert next_work(running=True, to_decode=True, decoded_last=False) == "decode"
    assert next_work(running=True, to_decode=True, decoded_last=True) == "denoise"
    assert next_work(running=False, to_decode=True, decoded_last=True) == "decode"
    assert next_work(running=True, to_decode=False, decoded_last=False) == "denoise"
    assert next_work(running=False, to_decode=False, decoded_last=True) == "wait"


def test_when_another_prompt_may_begin() -> None:
    assert may_begin(finished=0, running=0, begun_now=5)
    assert may_begin(finished=0, running=3, begun_now=0)
    assert not may_begin(finished=0, running=3, begun_now=1)
    assert not may_begin(finished=2, running=0, begun_now=0)
