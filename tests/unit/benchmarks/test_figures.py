"""The statistics of the benchmarks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import gaps, gaps_within, median, percentile, ratios, spread, steady_rate

DURATIONS = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0, 2.0], 0.5, 1.5), ([1.0, 2.0], 1.0, 2.0), ([7.0], 0.99, 7.0)],
)
def test_percentile_lies_between_neighbours(values: list[float], fraction: float, expected: float) -> None:
    assert percentile(values, fraction) == expected


def test_percentile_of_a_hundred_and_one_steps_is_its_own_rank() -> None:
    assert percentile([float(i) for i in range(101)], 0.99) == pytest.approx(99.0)


@given(DURATIONS, st.floats(0, 1))
def test_percentile_stays_within_the_values(values: list[float], fraction: float) -> None:
    assert min(values) <= percentile(values, fraction) <= max(values)


def test_percentile_refuses_a_fraction_that_is_a_percentage() -> None:
    with pytest.raises(ValueError, match="99"):
        percentile([1.0], 99)


def test_nothing_measured_is_no_number() -> None:
    seen = spread([])
    assert (seen.count, math.isnan(seen.p50), math.isnan(seen.worst)) == (0, True, True)


def test_median_leaves_out_what_is_no_number() -> None:
    assert median([math.nan, 3.0, 1.0]) == 2.0
    assert math.isnan(median([math.nan]))


def test_ratios_are_taken_round_by_round() -> None:
    by_round = ratios([10.0, 30.0, 5.0], [10.0, 20.0, 0.0])
    assert by_round[:2] == [1.0, 1.5]
    assert math.isnan(by_round[2])


def test_ratios_refuse_rounds_without_a_partner() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_gaps_are_between_events() -> None:
    assert gaps([1.0, 1.5, 3.0]) == [0.5, 1.5]
    assert gaps([1.0]) == []


def test_the_steady_rate_counts_only_while_all_run() -> None:
    early, late = [0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0, 6.0]
    assert steady_rate([early, late]) == 2.0  # 3.0 and 4.0 of both, in two seconds


@pytest.mark.parametrize("streams", [[], [[]], [[1.0]], [[0.0, 1.0], [2.0, 3.0]]])
def test_there_is_no_steady_rate_where_they_never_ran_together(streams: list[list[float]]) -> None:
    assert math.isnan(steady_rate(streams))


def test_gaps_within_a_time_are_those_that_touch_it() -> None:
    assert gaps_within([0.0, 1.0, 3.0, 6.0, 7.0], 2.0, 6.0) == [2.0, 3.0]
