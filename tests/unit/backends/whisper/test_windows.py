"""Which windows go together."""

import pytest

from backends.whisper.windows import FULL_FRAMES, Candidate, Key, StepBudget, choose, window_frames

KEY = Key(500, 0, 0.0, detect=False, logprobs=False)
OTHER = Key(1000, 0, 0.0, detect=False, logprobs=False)


def candidate(
    name: str, key: Key = KEY, priority: int = 0, turn: int = 0, arrival: int = 0
) -> Candidate[str]:
    return Candidate(name, key, priority, turn, arrival)


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.1, 500), (4, 500), (4.1, 750), (9, 1000), (28, 3000), (30, 3000)]
)
def test_a_window_is_a_clip_and_its_margin(seconds: float, frames: int) -> None:
    assert window_frames(int(seconds * 16000), 1.0, 5.0) == frames


def test_a_large_margin_means_the_full_window() -> None:
    assert window_frames(16000, 30.0, 5.0) == FULL_FRAMES


def test_those_like_the_first_go_with_it() -> None:
    line = [candidate("a"), candidate("b", OTHER, arrival=1), candidate("c", arrival=2)]
    assert choose(line, lambda frames: 8) == ["a", "c"]
    assert choose([], lambda frames: 8) == []


def test_a_long_recording_takes_turns_with_short_ones() -> None:
    long = [candidate(f"long{turn}", turn=turn) for turn in range(9)]
    assert choose([*long, candidate("short", arrival=5)], lambda frames: 2) == ["long0", "short"]


def test_priority_goes_first() -> None:
    assert choose([candidate("a"), candidate("b", OTHER, priority=1, arrival=9)], lambda frames: 8) == ["b"]


def test_calls_that_run_side_by_side_share_what_there_is() -> None:
    line = [candidate(str(number), arrival=number) for number in range(5)]
    first = choose(line, lambda frames: 8, calls=2)
    assert first == ["0", "1", "2"]
    assert choose(line[3:], lambda frames: 8, calls=2, running=3) == ["3", "4"]
    assert choose(line, lambda frames: 1, calls=2) == ["0"]


def test_a_budget_learns_how_many_windows_fit_into_a_step() -> None:
    budget = StepBudget(max_s=4.0, max_rows=8)
    assert budget.rows(3000) == 8
    budget.took(rows=8, frames=3000, seconds=16.0)
    assert (budget.rows(3000), budget.rows(500)) == (2, 8)
    budget.took(rows=1, frames=3000, seconds=100.0)
    assert budget.rows(3000) == 1
    budget.took(rows=1, frames=3000, seconds=1.0)
    assert budget.rows(3000) == 2
    budget.took(rows=1, frames=500, seconds=1.0)
    assert budget.rows(3000) == 2


def test_a_budget_begins_with_what_one_window_took() -> None:
    budget = StepBudget(max_s=4.0, max_rows=8)
    budget.begin(frames=500, seconds=1.0)
    assert (budget.rows(500), budget.rows(3000)) == (4, 1)
    budget.begin(frames=500, seconds=0.001)
    assert budget.rows(3000) == 8


def test_a_budget_shrinks_where_there_is_no_room() -> None:
    budget = StepBudget(4.0, 8)
    budget.shrink(8)
    assert budget.rows(3000) == 4
    budget.shrink(1)
    assert budget.rows(3000) == 1
