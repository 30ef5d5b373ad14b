"""Drafts of a model whose next token is a function of all before: right only if its cache is in step."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.draft_model import ModelDrafter, check_vocabularies
from backends.llama_cpp.drafting import DraftRequest

SIZE = 50
END = 49
UNSURE = 48
"""After this token the fake model has no idea."""


class FakeVocabulary:
    def __init__(self, size: int = SIZE, bos: int = 1, changed: int = -1) -> None:
        self.size, self.bos, self.eos, self.add_bos = size, bos, END, False
        self._changed = changed

    def text(self, token: int) -> str:
        return "other" if token == self._changed else f"t{token}"

    def end_tokens(self) -> frozenset[int]:
        return frozenset({END})


class FakeModel:
    def __init__(self, vocabulary: FakeVocabulary) -> None:
        self.vocabulary = vocabulary
        self.closed = False

    def close(self) -> None:
        self.closed = True


def following(history: list[int]) -> int:
    """What the fake model says comes next: never the end, never unsure."""
    return sum((index + 1) * token for index, token in enumerate(history)) % UNSURE


class FakeDecoder:
    """Holds sequences as llama.cpp would, and refuses what it would not take."""

    def __init__(self, n_ctx: int = 200, n_batch: int = 16, n_seq_max: int = 3) -> None:
        self.n_ctx, self.n_batch, self.n_seq_max = n_ctx, n_batch, n_seq_max
        self.cells: dict[int, list[int]] = {}
        self.calls: list[int] = []
        self.fails = 0
        self.stiff = False
        self.closed = False
        self._rows: dict[int, list[int]] = {}

    def decode(self, raw: Any) -> int:
        if self.fails:
            self.fails -= 1
            return -3
        assert 0 < raw.n_tokens <= self.n_batch
        self._rows = {}
        for row in range(raw.n_tokens):
            cells = self.cells.setdefault(raw.seq_id[row][0], [])
            assert raw.pos[row] == len(cells), "a hole in the cache"
            cells.append(raw.token[row])
            if raw.logits[row]:
                self._rows[row] = cells.copy()
        assert sum(map(len, self.cells.values())) <= self.n_ctx
        self.calls.append(raw.n_tokens)
        return 0

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        logits = np.zeros(SIZE, dtype=np.float32)
        history = self._rows[row]
        if history[-1] != UNSURE:
            logits[following(history)] = 10.0
        return logits

    def remove(self, seq_id: int, start: int = 0) -> bool:
        if self.stiff and start:
            return False
        self.cells[seq_id] = self.cells.get(seq_id, [])[:start]
        return True

    def close(self) -> None:
        self.closed = True


def drafter(decoder: FakeDecoder, context_length: int = 100) -> ModelDrafter:
    target, model = FakeVocabulary(), FakeModel(FakeVocabulary())
    return ModelDrafter(model, decoder, target, context_length=context_length, clock=lambda: 0.0)  # type: ignore[arg-type]


def request(key: int, tokens: list[int], most: int = 4) -> DraftRequest:
    return DraftRequest(key, np.array(tokens, dtype=np.int32), most)


def right(tokens: list[int], most: int) -> list[int]:
    """The draft that a model without a cache would make."""
    history = list(tokens)
    for _ in range(most):
        history.append(following(history))
    return history[len(tokens) :]


def test_a_draft_is_what_the_model_would_go_on_with() -> None:
    assert drafter(FakeDecoder()).propose([request(0, [3, 4, 5])]) == [right([3, 4, 5], 4)]


def test_sequences_draft_in_common_batches() -> None:
    decoder = FakeDecoder()
    made = drafter(decoder)
    decoder.calls.clear()
    drafts = made.propose([request(0, [3, 4], 3), request(1, [5, 6, 7], 1), request(2, [8], 2)])
    assert drafts == [right([3, 4], 3), right([5, 6, 7], 1), right([8], 2)]
    assert decoder.calls == [6, 2, 1]


def test_what_was_accepted_is_not_decoded_again() -> None:
    decoder = FakeDecoder()
    made = drafter(decoder)
    (draft,) = made.propose([request(0, [3, 4, 5])])
    decoder.calls.clear()
    history = [3, 4, 5, *draft, 9]
    assert made.propose([request(0, history, 1)]) == [right(history, 1)]
    assert decoder.calls == [2]  # the last of the draft, and the token after it


def test_what_was_rejected_leaves_the_cache() -> None:
    decoder = FakeDecoder()
    made = drafter(decoder)
    (draft,) = made.propose([request(0, [3, 4, 5])])
    decoder.calls.clear()
    history = [3, 4, 5, draft[0], (draft[1] + 1) % UNSURE]
    assert made.propose([request(0, history, 1)]) == [right(history, 1)]
    assert decoder.calls == [1]


def test_a_long_history_is_caught_up_with_in_parts() -> None:
    decoder = FakeDecoder(n_batch=16)
    made = drafter(decoder)
    history = [token % 40 for token in range(40)]
    drafts = [made.propose([request(0, history, 1)]) for _ in range(3)]
    assert drafts == [[[]], [[]], [right(history, 1)]]
    assert max(decoder.calls) <= 16


def test_a_newcomer_with_a_long_history_does_not_hold_the_others_up() -> None:
    made = drafter(FakeDecoder(n_batch=16))
    made.propose([request(0, [3, 4], 1)])
    first, second = made.propose([request(1, [7] * 40, 1), request(0, [3, 4, 5], 1)])
    assert (first, second) == ([], right([3, 4, 5], 1))


def test_a_draft_ends_where_the_model_is_not_sure() -> None:
    assert drafter(FakeDecoder()).propose([request(0, [3, UNSURE])]) == [[]]


def test_places_go_to_whoever_asks_now() -> None:
    decoder = FakeDecoder(n_seq_max=2)
    made = drafter(decoder)
    for key in range(5):
        assert made.propose([request(key, [key, 7])]) == [right([key, 7], 4)]
    drafts = made.propose([request(key, [key, 8]) for key in (7, 8, 9)])
    assert drafts == [right([7, 8], 4), right([8, 8], 4), []]


def test_cells_are_never_more_than_there_are() -> None:
    made = drafter(FakeDecoder(n_ctx=24, n_batch=24))
    first, second = made.propose([request(0, [1] * 10), request(1, [2] * 10)])
    assert (first, second) == (right([1] * 10, 4), [])
    assert made.propose([request(1, [2] * 10)]) == [right([2] * 10, 4)]


@pytest.mark.parametrize("tokens", [[], [1] * 97, [1, SIZE], [1, SIZE + 5]])
def test_what_cannot_be_drafted_for_gets_nothing(tokens: list[int]) -> None:
    assert drafter(FakeDecoder()).propose([request(0, tokens)]) == [[]]


def test_a_failed_decode_costs_the_draft_alone() -> None:
    decoder = FakeDecoder()
    made = drafter(decoder)
    made.propose([request(0, [3, 4])])
    decoder.fails = 1
    assert made.propose([request(0, [3, 4, 5])]) == [[]]
    assert made.propose([request(0, [3, 4, 5])]) == [right([3, 4, 5], 4)]
    decoder.fails = 3
    for _ in range(3):
        made.propose([request(0, [3, 4, 5])])
    decoder.calls.clear()
    assert made.propose([request(0, [3, 4, 5])]) == [[]]
    assert decoder.calls == []


def test_a_forgotten_sequence_frees_its_cells() -> None:
    decoder = FakeDecoder()
    made = drafter(decoder)
    made.propose([request(0, [3, 4])])
    made.forget(0)
    made.forget(0)
    assert not any(decoder.cells.values())


def test_a_cache_that_cannot_be_cut_back_is_refused_and_closed() -> None:
    decoder = FakeDecoder()
    decoder.stiff = True
    with pytest.raises(ValueError, match="cut back"):
        drafter(decoder)
    assert decoder.closed


def test_a_batch_smaller_than_the_sequences_is_refused() -> None:
    with pytest.raises(ValueError, match="every sequence"):
        drafter(FakeDecoder(n_batch=2, n_seq_max=3))


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        (FakeVocabulary(SIZE + 129), "not the same vocabulary"),
        (FakeVocabulary(bos=2), "begins or ends"),
        (FakeVocabulary(changed=30), "token 30"),
    ],
)
def test_another_vocabulary_is_refused(draft: FakeVocabulary, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_vocabularies(FakeVocabulary(), draft)  # type: ignore[arg-type]


def test_padding_is_no_other_vocabulary() -> None:
    check_vocabularies(FakeVocabulary(), FakeVocabulary(SIZE + 100))  # type: ignore[arg-type]


rounds = st.lists(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5), st.integers(0, UNSURE - 1)),
        min_size=1,
        max_size=3,
        unique_by=lambda row: row[0],
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(rounds)
def test_drafts_stay_right_whatever_was_accepted(rounds: list[list[tuple[int, int, int, int]]]) -> None:
    """Each round: which sequences ask for how much, how much of it agrees, and what comes then."""
    made = drafter(FakeDecoder(n_ctx=1000, n_batch=64))
    histories = {key: [key + 1] for key in range(4)}
    for asked in rounds:
        drafts = made.propose([request(key, histories[key], most) for key, most, _, _ in asked])
        for (key, most, agreed, token), draft in zip(asked, drafts, strict=True):
            if len(histories[key]) + most <= 100:
                assert draft == right(histories[key], most)
            histories[key] += [*draft[:agreed], token]
