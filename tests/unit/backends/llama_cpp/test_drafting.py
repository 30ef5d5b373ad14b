"""Prompt lookup: the longest recent run, by an index that must find what a scan of the text would find."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.drafting import DraftRequest, LookupDrafter
from backends.llama_cpp.ngrams import NgramIndex


def ask(drafter: LookupDrafter, tokens: list[int], most: int = 4, key: int = 0) -> list[int]:
    (draft,) = drafter.propose([DraftRequest(key, np.array(tokens, dtype=np.int32), most)])
    return draft


def scan(tokens: list[int], shortest: int = 2) -> tuple[int, int] | None:
    """What the index is to find, by trying every place."""
    for size in (4, 3, 2):
        if size < shortest:
            continue
        tail = tokens[-size:]
        for end in range(len(tokens) - 1, size - 1, -1):
            if len(tail) == size and tokens[end - size : end] == tail:
                return end, size
    return None


def test_what_followed_the_last_time_is_guessed() -> None:
    assert ask(LookupDrafter(), [1, 2, 3, 4, 5, 6, 9, 2, 3]) == [4, 5, 6, 9]


def test_the_longest_run_counts_and_of_equals_the_most_recent() -> None:
    text = [1, 2, 3, 4, 70, 0, 3, 4, 80, 0, 3, 4, 81, 0, 2, 3, 4]
    assert ask(LookupDrafter(), text, most=1) == [70]
    assert ask(LookupDrafter(), [3, 4, 80, 0, 3, 4, 81, 0, 9, 3, 4], most=1) == [81]


def test_nothing_is_guessed_where_nothing_came_twice() -> None:
    assert ask(LookupDrafter(), [1, 2, 3, 1, 4, 3]) == []
    assert ask(LookupDrafter(), [1]) == []
    assert ask(LookupDrafter(), [1, 2, 1, 2], most=0) == []


def test_a_text_that_goes_round_in_circles_is_continued() -> None:
    assert ask(LookupDrafter(), [7, 8, 7, 8, 7, 8], most=5) == [7, 8, 7, 8, 7]
    assert ask(LookupDrafter(), [5, 5, 5, 5], most=3) == [5, 5, 5]


def test_sequences_do_not_see_each_other() -> None:
    drafter = LookupDrafter()
    assert ask(drafter, [1, 2, 3, 4, 1, 2], key=1) != []
    assert ask(drafter, [9, 1, 2], key=2) == []


def test_failures_ask_for_longer_runs_and_success_for_shorter_ones() -> None:
    drafter = LookupDrafter()
    short = [1, 2, 3, 8, 1, 2]
    assert ask(drafter, short) != []
    drafter.accepted(0, proposed=4, accepted=0)
    assert ask(drafter, short) == []
    assert ask(drafter, [*short, 3]) != []
    drafter.accepted(0, proposed=4, accepted=2)
    assert ask(drafter, [*short, 3, 1, 2]) != []


def test_a_key_given_to_another_text_starts_anew() -> None:
    drafter = LookupDrafter()
    ask(drafter, [1, 2, 3, 4, 5])
    assert ask(drafter, [6, 1, 2, 3]) == []
    ask(drafter, [1, 2, 3, 4, 5], key=1)
    drafter.forget(1)
    assert ask(drafter, [1, 2, 3, 9, 5, 6, 1, 2], most=1, key=1) == [3]


texts = st.lists(st.integers(0, 3), min_size=1, max_size=80)


@settings(max_examples=300)
@given(text=texts, cuts=st.lists(st.integers(1, 80), max_size=20), bulk=st.sampled_from([1, 3, 1000]))
def test_the_index_finds_what_a_scan_finds(text: list[int], cuts: list[int], bulk: int) -> None:
    """Whatever portions the text comes in, and whether they are sorted in or added one by one."""
    tokens = np.array(text, dtype=np.int32)
    index = NgramIndex(bulk)
    for end in sorted({min(cut, len(text)) for cut in cuts} | {len(text)}):
        assert index.continues(tokens[:end])
        index.extend(tokens[:end])
        for shortest in (2, 3, 4):
            assert index.find(tokens[:end], shortest) == scan(text[:end], shortest)
