from hypothesis import given
from hypothesis import strategies as st

from backends.diffusion.steps import StepPlan, plan, preview_positions


@given(st.integers(1, 200), st.floats(0.01, 1))
def test_an_edit_does_at_least_one_step(steps: int, strength: float) -> None:
    planned = plan(steps, strength)
    assert planned.asked >= steps
    assert 1 <= planned.done <= planned.asked
    assert planned.done == int(planned.asked * strength)


def test_steps_are_raised_only_where_none_would_be_done() -> None:
    assert plan(1, 1.0) == StepPlan(1, 1)
    assert plan(1, 0.5) == StepPlan(2, 1)
    assert plan(1, 0.3) == StepPlan(4, 1)
    assert plan(30, 0.8) == StepPlan(30, 24)


@given(st.integers(1, 200).flatmap(lambda steps: st.tuples(st.just(steps), st.integers(0, steps - 1))))
def test_previews_are_spread_and_never_the_last(drawn: tuple[int, int]) -> None:
    positions, previews = drawn
    places = preview_positions(positions, previews)
    assert len(set(places)) == len(places) == previews
    assert list(places) == sorted(places)
    assert all(1 <= place < positions for place in places)


def test_where_previews_stand() -> None:
    assert preview_positions(4, 3) == [1, 2, 3]
    assert preview_positions(30, 2) == [10, 20]
