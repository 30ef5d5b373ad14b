"""What steps are expected to cost, from what steps did cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.step_costs import StepCosts


def learned(costs: dict[int, float]) -> StepCosts:
    made = StepCosts()
    for rows, step_s in costs.items():
        made.measured(rows, step_s)
    return made


def test_nothing_is_known_before_the_first_step() -> None:
    costs = StepCosts()
    costs.measured(0, 1.0)
    costs.measured(1, 0.0)
    assert costs.step_s(1) is None


def test_between_known_rows_lies_a_line_and_beyond_them_proportion() -> None:
    costs = learned({2: 0.02, 4: 0.03})
    assert costs.step_s(3) == pytest.approx(0.025)
    assert costs.step_s(8) == pytest.approx(0.06)
    assert costs.step_s(1) == pytest.approx(0.02)
    assert costs.step_s(0) is None


def test_costs_follow_the_machine() -> None:
    costs = learned({1: 0.01})
    for _ in range(50):
        costs.measured(1, 0.02)
    assert costs.step_s(1) == pytest.approx(0.02, rel=0.01)


def test_what_slows_one_kind_of_step_is_expected_of_the_others() -> None:
    costs = learned({1: 0.01, 4: 0.02})
    for _ in range(5):
        costs.measured(1, 0.015)
    four = costs.step_s(4)
    assert four is not None
    assert 0.021 < four < 0.03


def test_a_hiccup_counts_little() -> None:
    costs = learned({1: 0.01, 2: 0.02})
    costs.measured(1, 5.0)
    one, two = costs.step_s(1), costs.step_s(2)
    assert one is not None
    assert two is not None
    assert one < 0.013
    assert two < 0.022


@given(st.dictionaries(st.integers(1, 300), st.floats(0.001, 1.0), min_size=1), st.integers(1, 600))
def test_an_expectation_is_never_beyond_what_was_seen(costs: dict[int, float], rows: int) -> None:
    expected = learned(costs).step_s(rows)
    assert expected is not None
    assert expected >= min(costs.values()) * (1 - 1e-9)
    assert expected <= max(costs.values()) * max(rows / max(costs), 1) * (1 + 1e-9)
