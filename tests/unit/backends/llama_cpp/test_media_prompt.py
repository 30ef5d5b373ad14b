"""Where tokens of a prompt with pictures stand, and which numbers stand for what is shown."""

import numpy as np
import pytest

from backends.llama_cpp.batch import EmbeddingBatch
from backends.llama_cpp.media_prompt import (
    ChunkNumbers,
    MediaPrompt,
    MediaSpan,
    holds_media,
    whole_spans,
)
from backends.llama_cpp.prefixes import common_prefix

NUMBERS = ChunkNumbers()


def span(start: int, count: int, first: int, after: int, *, causal: bool = True) -> MediaSpan:
    rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    return MediaSpan(start, rows, np.full((4, count), first, dtype=np.int32), after, causal=causal)


def prompt(*pieces: int | str) -> np.ndarray:
    """Numbers are text; a name is a picture of four tokens."""
    ids = [NUMBERS.ids(one, 4) if isinstance(one, str) else np.array([one]) for one in pieces]
    return np.concatenate(ids).astype(np.int32)


# Three tokens of text, six of a picture at two positions, one of text, four at four, two of text.
SHOWN = MediaPrompt(np.zeros(16, dtype=np.int32), [span(3, 6, 3, 5), span(10, 4, 6, 10, causal=False)])


@pytest.mark.parametrize(
    ("index", "position"), [(0, 0), (2, 2), (3, 3), (9, 5), (10, 6), (14, 10), (15, 11), (16, 12)]
)
def test_positions_of_what_stands_outside_pictures(index: int, position: int) -> None:
    assert SHOWN.position(index) == position
    assert index + SHOWN.shift == position or index < 10


@pytest.mark.parametrize(
    ("positions", "held"),
    [(0, 0), (2, 2), (3, 3), (4, 3), (5, 9), (6, 10), (7, 10), (9, 10), (10, 14), (11, 15)],
)
def test_what_a_cache_surely_holds(positions: int, held: int) -> None:
    assert SHOWN.index(positions) == held


@pytest.mark.parametrize(
    ("index", "most", "tokens"),
    [(0, 9, 3), (0, 2, 2), (3, 4, 4), (5, 9, 4), (9, 9, 1), (10, 1, 4), (14, 9, 9)],
)
def test_one_decode_holds_text_or_one_picture(index: int, most: int, tokens: int) -> None:
    assert SHOWN.run(index, most) == tokens


def test_the_picture_at_a_place() -> None:
    found = [SHOWN.span_at(index) for index in (2, 3, 8, 9, 10, 13, 14)]
    first, second = SHOWN.spans
    assert found == [None, first, first, None, second, second, None]


def test_equal_pictures_are_equal_numbers_and_no_others() -> None:
    assert prompt(5, "a", 6).tolist() == prompt(5, "a", 6).tolist()
    assert common_prefix(prompt(5, "a", 6), prompt(5, "b", 6)) == 1
    assert (prompt("a", "b") < 0).all()
    assert holds_media(prompt(5, "a"))
    assert not holds_media(prompt(5, 6))


def test_a_forgotten_picture_gets_a_number_that_was_nobodys() -> None:
    numbers = ChunkNumbers(2)
    first = {name: numbers.ids(name, 2).tolist() for name in "abc"}
    again = {name: numbers.ids(name, 2).tolist() for name in "cab"}
    assert again["c"] == first["c"]
    seen = [tuple(ids) for ids in [*first.values(), again["a"], again["b"]]]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("pieces", "length", "whole"),
    [
        ([1, "a", 2], 1, 1),
        ([1, "a", 2], 2, 1),
        ([1, "a", 2], 4, 1),
        ([1, "a", 2], 5, 5),
        ([1, "a", "a", 2], 5, 5),
        ([1, "a", "a", 2], 7, 5),
        ([1, "a", "b"], 9, 9),
        (["a", 2], 3, 0),
    ],
)
def test_no_picture_is_cut_in_two(pieces: list[int | str], length: int, whole: int) -> None:
    assert whole_spans(prompt(*pieces), length) == whole


def test_a_batch_points_at_some_rows_of_a_span() -> None:
    batch = EmbeddingBatch(7, span(3, 6, 3, 5), 2, 3).raw
    assert (batch.n_tokens, bool(batch.token)) == (3, False)
    assert batch.embd[:6] == [4, 5, 6, 7, 8, 9]
    assert [batch.seq_id[row][0] for row in range(3)] == [7, 7, 7]
    assert batch.pos[:12] == [3] * 12
    assert [batch.logits[row] for row in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(("first", "count"), [(-1, 2), (0, 0), (5, 2), (0, 7)])
def test_rows_that_are_not_there(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="6 rows"):
        EmbeddingBatch(0, span(0, 6, 0, 6), first, count)
