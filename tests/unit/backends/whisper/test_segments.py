"""How a window's text is cut at its timestamps."""

from hypothesis import given
from hypothesis import strategies as st

from backends.whisper.segments import cut

END, FIRST = 100, 200


def at(seconds: float) -> int:
    return FIRST + round(seconds * 50)


def times(tokens: list[int], duration_s: float = 30.0) -> list[tuple[float, float, list[int]]]:
    return [(p.start_s, p.end_s, p.text_tokens) for p in cut(tokens, FIRST, END, duration_s).pieces]


def test_pairs_of_timestamps_part_segments() -> None:
    tokens = [at(0), 1, 2, at(2), at(3), 3, at(5)]
    assert times(tokens) == [(0, 2, [1, 2]), (3, 5, [3])]
    assert cut(tokens, FIRST, END, 30).rest_s is None


def test_a_text_without_an_end_goes_to_the_windows_end() -> None:
    assert times([at(1), 1, 2], 4.0) == [(1, 4, [1, 2])]
    assert times([at(0), 1, at(2), at(2), 2], 4.0) == [(0, 2, [1]), (2, 4, [2])]


def test_a_text_without_timestamps_is_all_of_the_window() -> None:
    assert times([1, 2], 4.0) == [(0, 4, [1, 2])]


def test_a_pair_at_the_end_says_that_there_is_more() -> None:
    assert cut([at(0), 1, at(2), at(2)], FIRST, END, 10).rest_s == 2
    assert cut([at(0), 1, at(9.5), at(9.5)], FIRST, END, 10).rest_s is None
    assert cut([at(2), at(2)], FIRST, END, 10).rest_s is None


def test_no_time_is_after_the_window() -> None:
    assert times([at(0), 1, at(29)], 4.0) == [(0, 4, [1])]


def test_nothing_said() -> None:
    assert times([]) == times([at(0), at(1)]) == times([END]) == []


@given(st.lists(st.integers(0, FIRST + 1500)), st.floats(0.1, 30))
def test_no_text_is_lost_and_times_are_in_order(tokens: list[int], duration_s: float) -> None:
    pieces = cut(tokens, FIRST, END, duration_s).pieces
    assert [t for piece in pieces for t in piece.text_tokens] == [t for t in tokens if t < END]
    assert all(0 <= piece.start_s <= piece.end_s <= duration_s for piece in pieces)
