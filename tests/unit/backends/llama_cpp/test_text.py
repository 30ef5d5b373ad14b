"""Text assembly: the answer must not depend on how bytes were cut into tokens."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.text import TextAssembler

_SMALL = st.text(alphabet="ab\nzé😀", max_size=40)
_STOPS = st.lists(st.text(alphabet="ab\né😀", min_size=1, max_size=5), max_size=3)


def _expected(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """By definition: cut before the stop string that completes first, the longest of those."""
    for end in range(1, len(text) + 1):
        lengths = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if lengths:
            return text[: end - max(lengths)], True
    return text, False


def _cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    borders = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


def _run(assembler: TextAssembler, pieces: Sequence[bytes]) -> list[str]:
    shown: list[str] = []
    for piece in pieces:
        shown.append(assembler.feed(piece))
        if assembler.stopped:
            return shown
    return [*shown, assembler.finish()]


@given(_SMALL, _STOPS, st.lists(st.integers(0, 80), max_size=12))
def test_any_cutting_gives_the_same_answer(text: str, stops: list[str], cuts: list[int]) -> None:
    assembler = TextAssembler(stops)
    shown = _run(assembler, _cut(text.encode(), cuts))
    assert ("".join(shown), assembler.stopped) == _expected(text, stops)
    assert "\ufffd" not in "".join(shown)


@given(_SMALL, _STOPS)
def test_nothing_shown_is_ever_taken_back(text: str, stops: list[str]) -> None:
    assembler = TextAssembler(stops)
    answer, _ = _expected(text, stops)
    shown = ""
    for byte in text.encode():
        shown += assembler.feed(bytes([byte]))
        assert answer.startswith(shown)
        if assembler.stopped:
            break


def test_text_is_held_back_only_as_far_as_it_may_be_a_stop_string() -> None:
    assembler = TextAssembler(["END"])
    assert assembler.feed(b"fine E") == "fine "
    assert assembler.feed(b"N") == ""
    assert assembler.feed(b"ough") == "ENough"


def test_a_character_appears_with_its_last_byte() -> None:
    assembler = TextAssembler()
    shown = [assembler.feed(bytes([byte])) for byte in "a😀".encode()]
    assert shown == ["a", "", "", "", "😀"]


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    assembler = TextAssembler()
    assert assembler.feed("😀".encode()[:3]) == ""
    assert assembler.finish() == ""


def test_bytes_that_are_no_text_become_the_replacement_character() -> None:
    assert TextAssembler().feed(b"a\xffb") == "a\ufffdb"


@pytest.mark.parametrize(("stops", "answer"), [(["bc", "abcd"], "a"), (["cd", "abcd"], "")])
def test_the_first_to_complete_wins_then_the_longest(stops: list[str], answer: str) -> None:
    assembler = TextAssembler(stops)
    assert "".join(_run(assembler, [b"ab", b"cd", b"e"])) == answer
    assert assembler.stopped


def test_an_empty_stop_string_stops_nothing() -> None:
    assert TextAssembler([""]).feed(b"abc") == "abc"
