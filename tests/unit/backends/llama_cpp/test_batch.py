"""The batch arrays as C sees them, and refusals where llama.cpp would end the process."""

import numpy as np
import pytest

from backends.llama_cpp.batch import Batch


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def rows(batch: Batch) -> list[tuple[int, int, int, int]]:
    raw = batch.raw
    return [(raw.token[i], raw.pos[i], raw.seq_id[i][0], raw.logits[i]) for i in range(raw.n_tokens)]


def test_rows_reach_the_c_side() -> None:
    batch = Batch(8, n_seq_max=4, n_vocab=100)
    assert batch.add(2, ids(7, 8, 9), 5, want_last=True) == 2
    assert batch.add(0, ids(1), 0, want_last=False) == 3
    assert rows(batch) == [(7, 5, 2, 0), (8, 6, 2, 0), (9, 7, 2, 1), (1, 0, 0, 0)]
    assert [batch.raw.n_seq_id[i] for i in range(4)] == [1, 1, 1, 1]


def test_a_cleared_batch_forgets_wanted_rows() -> None:
    batch = Batch(4, n_seq_max=1, n_vocab=100)
    batch.add(0, ids(1, 2), 0, want_last=True)
    batch.clear()
    batch.add(0, ids(3, 4, 5), 0, want_last=False)
    assert rows(batch) == [(3, 0, 0, 0), (4, 1, 0, 0), (5, 2, 0, 0)]


@pytest.mark.parametrize(
    ("seq_id", "tokens", "position"),
    [(0, ids(*range(5)), 0), (0, ids(), 0), (2, ids(1), 0), (-1, ids(1), 0), (0, ids(1), -1)],
)
def test_what_does_not_fit_is_refused(seq_id: int, tokens: np.ndarray, position: int) -> None:
    with pytest.raises(ValueError, match=r"fit|no sequence"):
        Batch(4, n_seq_max=2, n_vocab=100).add(seq_id, tokens, position, want_last=True)


@pytest.mark.parametrize("token", [-1, 100])
def test_a_token_outside_the_vocabulary_is_refused(token: int) -> None:
    batch = Batch(4, n_seq_max=2, n_vocab=100)
    batch.add_one(0, 5, 0)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        batch.add(0, ids(1, token), 1, want_last=True)
    with pytest.raises(ValueError, match="none of the vocabulary"):
        batch.add_one(0, token, 1)
    assert rows(batch) == [(5, 0, 0, 1)]


def test_a_row_by_itself_is_the_same_as_a_sequence_of_one() -> None:
    one, many = (Batch(4, n_seq_max=4, n_vocab=100) for _ in range(2))
    for index, (seq_id, token, position) in enumerate([(2, 7, 5), (0, 99, 0), (3, 0, 9)]):
        assert one.add_one(seq_id, token, position) == index
        assert many.add(seq_id, ids(token), position, want_last=1) == index
    assert rows(one) == rows(many)


@pytest.mark.parametrize(("seq_id", "position"), [(4, 0), (-1, 0), (0, -1)])
def test_a_row_out_of_place_is_refused(seq_id: int, position: int) -> None:
    with pytest.raises(ValueError, match="no sequence"):
        Batch(4, n_seq_max=4, n_vocab=100).add_one(seq_id, 1, position)


def test_a_row_too_many_is_refused() -> None:
    batch = Batch(1, n_seq_max=1, n_vocab=100)
    batch.add_one(0, 1, 0)
    with pytest.raises(ValueError, match="one too many"):
        batch.add_one(0, 1, 1)


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Batch(4, n_seq_max=2, n_vocab=100).check()
