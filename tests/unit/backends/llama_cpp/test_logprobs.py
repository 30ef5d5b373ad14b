"""Log-probabilities: of the whole distribution, and never a number that JSON cannot write."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.logprobs import FLOOR, token_logprob


def read(logits: list[float], token: int, top: int = 0) -> tuple[float, list[tuple[int, float]]]:
    row = np.array(logits, dtype=np.float32)
    got = token_logprob(row, token, top, lambda one: b"p%d" % one, lambda one: b"w%d" % one)
    assert (got.token, got.id) == (b"p%d" % token, token)
    assert all(one.token == b"w%d" % one.id for one in got.top)
    assert row.tolist() == np.array(logits, dtype=np.float32).tolist(), "sampling still needs the logits"
    assert got.logprob is not None
    return got.logprob, [(one.id, one.logprob) for one in got.top]


def test_probabilities_are_those_of_the_softmax() -> None:
    logits = [math.log(weight) for weight in (1, 2, 5)]
    got, top = read(logits, 0, 2)
    assert got == pytest.approx(math.log(1 / 8))
    assert [token for token, _ in top] == [2, 1]
    assert [value for _, value in top] == pytest.approx([math.log(5 / 8), math.log(2 / 8)])


def test_equal_ones_stand_in_the_order_of_their_numbers() -> None:
    assert [token for token, _ in read([1.0] * 6, 0, 6)[1]] == list(range(6))


def test_what_is_impossible_gets_the_floor() -> None:
    assert read([0.0, -math.inf], 1, 2)[0] == FLOOR


def test_huge_logits_are_no_overflow() -> None:
    assert read([3e38, 0.0], 0)[0] == 0.0


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=30), st.data())
def test_the_likeliest_come_first_and_all_together_are_certain(
    logits: list[float], data: st.DataObject
) -> None:
    top = data.draw(st.integers(0, len(logits)))
    _, best = read(logits, 0, top)
    values = [value for _, value in best]
    assert len(best) == top
    assert values == sorted(values, reverse=True)
    everything = [value for _, value in read(logits, 0, len(logits))[1]]
    assert values == everything[:top]
    assert sum(map(math.exp, everything)) == pytest.approx(1)
