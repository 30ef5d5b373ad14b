"""How tokens come about at one place of an answer, and in which order things happen there."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.llama_cpp.sequence import Sequence
from backends.llama_cpp.writing import Writer
from backends.protocol import Delta, Output
from tests.unit.backends.llama_cpp.sequences import sequence

END, MARK = 0, 1
SIZE = 128


class FakeContext:
    """Row by row the tokens that will be sampled; writes down the order of things."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = list(tokens)
        self.calls: list[tuple[Any, ...]] = []
        self.rows = [np.arange(SIZE, dtype=np.float32) / 10 + row for row in range(len(tokens) + 8)]

    def sample(self, chain: Any, row: int) -> int:
        self.calls.append(("sample", row))
        return self.tokens[row]

    def accept(self, chain: Any, token: int) -> None:
        self.calls.append(("accept", token))

    def logits(self, row: int) -> NDArray[np.float32]:
        self.calls.append(("logits", row))
        return self.rows[row].copy()

    def live_logits(self, row: int) -> NDArray[np.float32]:
        return self.rows[row]


class FakeVocabulary:
    def piece(self, token: int) -> bytes:
        return b"" if token == MARK else chr(token).encode()

    def written(self, token: int) -> bytes:
        return b"<mark>" if token == MARK else chr(token).encode()

    def end_tokens(self) -> frozenset[int]:
        return frozenset({END})


class FakeGuide:
    """Forces some tokens after the first one; sleeps if it `forbids` nothing."""

    def __init__(self, *forced: int, stops_after: int = 99, forbids: bool = True) -> None:
        self._forced = list(forced)
        self._stops_after = stops_after
        self.forbids = forbids
        self.calls: list[Any] = []

    @property
    def stopped(self) -> bool:
        return sum(isinstance(call, int) for call in self.calls) >= self._stops_after

    def mask(self, logits: NDArray[np.float32]) -> None:
        self.calls.append("mask")
        logits[:] = -np.inf

    def forced(self) -> list[int]:
        tokens, self._forced = self._forced, []
        return tokens

    def accept(self, token: int) -> None:
        self.calls.append(token)


def write(
    one: Sequence, context: FakeContext, row: int = 0, *, by_token: bool = False
) -> tuple[int, list[Output], Writer]:
    outputs: list[Output] = []
    writer = Writer(context, FakeVocabulary(), by_token=by_token)
    return writer.write(one, row, outputs), outputs, writer


def answered(one: Sequence) -> list[int]:
    return one.history[one.prompt_tokens : one.length].tolist()


A, B, C, D = (ord(one) for one in "ABCD")


def test_without_a_draft_one_token_is_taken_from_its_row() -> None:
    one, context = sequence([5]), FakeContext(A, B)
    agreed, outputs, writer = write(one, context, 1)
    assert (agreed, answered(one), outputs, writer.written) == (0, [B], [], 1)
    assert context.calls == [("sample", 1)]


@pytest.mark.parametrize(
    ("draft", "agreed", "taken"),
    [([A, B], 2, [A, B, C]), ([A, D], 1, [A, B]), ([D, B], 0, [A]), ([A], 1, [A, B])],
)
def test_a_draft_is_followed_as_far_as_it_agrees(draft: list[int], agreed: int, taken: list[int]) -> None:
    one = sequence([5])
    one.draft = draft
    context = FakeContext(A, B, C)
    assert write(one, context)[0] == agreed
    assert answered(one) == taken
    assert context.calls == [("sample", row) for row in range(len(taken))]


def test_an_end_token_ends_the_answer_and_is_no_part_of_it() -> None:
    one = sequence([5])
    one.draft = [A, END, C]
    assert write(one, FakeContext(A, END, C, D))[0] == 1
    assert (answered(one), one.finish_reason) == ([A], "stop")


def test_a_stop_string_or_the_limit_ends_it_within_a_draft() -> None:
    stopped = sequence([5], stop=["AB"])
    stopped.draft = [A, B, C]
    assert write(stopped, FakeContext(A, B, C, D))[0] == 1
    assert (answered(stopped), stopped.finish_reason) == ([A, B], "stop")
    full = sequence([5], 2)
    full.draft = [A]
    assert write(full, FakeContext(A, B))[0] == 1
    assert (answered(full), full.finish_reason) == ([A, B], "length")


def test_a_grammar_masks_before_sampling_and_what_it_forces_is_taken_at_once() -> None:
    guide = FakeGuide(B, C)
    one, context = sequence([5], guide=guide), FakeContext(A)
    _, _, writer = write(one, context)
    assert guide.calls == ["mask", A, B, C]
    assert context.calls == [("sample", 0), ("accept", B), ("accept", C)]
    assert (answered(one), one.forced, writer.written) == ([A, B, C], 2, 3)
    assert context.rows[0].max() == -np.inf


def test_a_grammar_that_sleeps_masks_nothing_but_hears_of_each_token() -> None:
    guide = FakeGuide(forbids=False)
    write(sequence([5], guide=guide), FakeContext(A))
    assert guide.calls == [A]


def test_forced_tokens_end_the_use_of_a_draft() -> None:
    one = sequence([5], guide=FakeGuide(B))
    one.draft = [A, B]
    assert write(one, FakeContext(A, D, D))[0] == 1
    assert answered(one) == [A, B]


def test_forced_tokens_go_no_further_than_the_limit() -> None:
    one = sequence([5], 2, guide=FakeGuide(B, C, D))
    write(one, FakeContext(A))
    assert (answered(one), one.finish_reason) == ([A, B], "length")


def test_an_answer_that_is_complete_ends() -> None:
    one = sequence([5], guide=FakeGuide(B, stops_after=2), ignore_eos=True)
    write(one, FakeContext(A))
    assert (answered(one), one.finish_reason) == ([A, B], "stop")


def test_nothing_is_forced_token_by_token_or_where_log_probabilities_are_wanted() -> None:
    one = sequence([5], guide=FakeGuide(B))
    write(one, FakeContext(A), by_token=True)
    assert answered(one) == [A]
    one = sequence([5], guide=FakeGuide(B), logprobs=0)
    write(one, FakeContext(A))
    assert answered(one) == [A]


def test_log_probabilities_are_those_before_the_mask() -> None:
    one, context = sequence([5], guide=FakeGuide(), logprobs=2), FakeContext(A)
    write(one, context)
    one.finish_reason = "length"
    logprob = one.result().logprobs[0]
    assert context.calls == [("logits", 0), ("sample", 0)]
    assert [top.id for top in logprob.top] == [SIZE - 1, SIZE - 2]
    assert logprob.logprob is not None
    assert -100 < logprob.logprob < 0


def test_a_drafts_tokens_have_the_log_probabilities_of_their_own_rows() -> None:
    one, context = sequence([5], logprobs=0), FakeContext(D, A, B)
    one.draft = [A]
    write(one, context, 1)
    assert [call for call in context.calls if call[0] == "logits"] == [("logits", 1), ("logits", 2)]


def test_a_visible_control_token_is_written_out() -> None:
    hidden, visible = sequence([5]), sequence([5], visible=frozenset({MARK}))
    for one in (hidden, visible):
        write(one, FakeContext(MARK))
        one.finish_reason = "length"
    assert (hidden.result().text, visible.result().text) == ("", "<mark>")


def test_an_echo_goes_out_before_the_first_token() -> None:
    one = sequence([C, D], echo=True, stream=True)
    _, outputs, writer = write(one, FakeContext(A))
    _, more, _ = write(one, FakeContext(B))
    assert [delta.text for delta in [*outputs, *more] if isinstance(delta, Delta)] == ["CD", "A", "B"]
    assert writer.written == 1


def test_a_prompts_log_probabilities_come_from_the_rows_before_its_tokens() -> None:
    one, context = sequence([A, B, C, D], echo=True, logprobs=0), FakeContext()
    writer = Writer(context, FakeVocabulary(), by_token=False)
    for held, row, tokens in [(0, 2, 3), (3, 0, 1)]:
        one.held = held
        writer.note_prompt(one, row, tokens)
    assert one.prompt_logprobs is not None
    assert [noted.id for noted in one.prompt_logprobs] == [A, B, C, D]
    assert [noted.logprob is None for noted in one.prompt_logprobs] == [True, False, False, False]
    assert context.calls == [("logits", 2), ("logits", 3), ("logits", 4)]


def test_a_prompt_that_is_computed_anew_is_noted_anew() -> None:
    one = sequence([A, B, C], echo=True, logprobs=0)
    writer = Writer(FakeContext(), FakeVocabulary(), by_token=False)
    for held, tokens in [(0, 2), (0, 3)]:
        one.held = held
        writer.note_prompt(one, 0, tokens)
    assert one.prompt_logprobs is not None
    assert [noted.id for noted in one.prompt_logprobs] == [A, B, C]
