"""Token jobs over a tokenizer that is its own test: tokens are characters."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import JobError, PreparedItem, Preparer
from backends.prepare import Answered, Outcome, Refused, _prepare
from backends.protocol import (
    MAX_FRAME_BYTES,
    Chat,
    DetokenizeParameters,
    DetokenizeResult,
    FrameBuffer,
    Item,
    Job,
    Parameters,
    Result,
    Text,
    TokenizeParameters,
    TokenizeResult,
    Tokens,
    encode_frame,
)
from backends.tokens import MAX_TOKENS, answer


class Characters:
    size = 0x110000

    def encode(self, item: Item, parameters: TokenizeParameters) -> list[int]:
        return list(map(ord, item.text)) if isinstance(item, Text) else [1] * (MAX_TOKENS + 1)

    def piece(self, token: int) -> bytes:
        return chr(token).encode()

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


class CharacterPreparer(Preparer[PreparedItem]):
    def prepare(self, job: Job) -> list[PreparedItem]:
        raise AssertionError("it must not be asked")

    def answer(self, job: Job) -> list[Result]:
        return answer(job, Characters())


class Silent(CharacterPreparer):
    answer = Preparer.answer


def job(parameters: Parameters, *items: Item) -> Job:
    task = "tokenize" if isinstance(parameters, TokenizeParameters) else "detokenize"
    return Job("1", "m", task, parameters, list(items))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_back_and_forth_is_the_same(text: str) -> None:
    (result,) = answer(job(TokenizeParameters(pieces=True), Text(text)), Characters())
    assert isinstance(result, TokenizeResult)
    assert b"".join(result.pieces).decode() == text
    ids = np.frombuffer(result.tokens, "<i4").tolist()
    assert answer(job(DetokenizeParameters(), Tokens(ids)), Characters()) == [DetokenizeResult(text)]


def test_pieces_only_if_asked_for() -> None:
    (result,) = answer(job(TokenizeParameters(), Text("ab")), Characters())
    assert result == TokenizeResult(b"a\0\0\0b\0\0\0", [])


def test_what_is_too_much_for_a_frame_is_refused() -> None:
    with pytest.raises(JobError, match="at most 1000000") as caught:
        answer(job(TokenizeParameters(), Chat([])), Characters())
    assert caught.value.param == "messages"
    with pytest.raises(JobError) as caught:
        answer(job(DetokenizeParameters(), Tokens([1] * (MAX_TOKENS + 1))), Characters())
    assert caught.value.param == "tokens"


def test_the_most_that_is_allowed_fits_in_a_frame() -> None:
    """8 MB is the largest body, so that the pieces of all tokens together are no longer."""
    text = "12345678" * MAX_TOKENS
    result = TokenizeResult(bytes(4 * MAX_TOKENS), [text[i : i + 8].encode() for i in range(0, len(text), 8)])
    assert len(encode_frame(Answered("id", [result]))) < MAX_FRAME_BYTES


@pytest.mark.parametrize("token", [-1, 0x110000])
def test_a_foreign_id_is_refused_by_number(token: int) -> None:
    with pytest.raises(JobError, match=f"{token} is no token id") as caught:
        answer(job(DetokenizeParameters(), Tokens([65, token])), Characters())
    assert (caught.value.param, caught.value.code) == ("tokens", "invalid_token_id")


def test_only_ids_become_text() -> None:
    with pytest.raises(JobError):
        answer(job(DetokenizeParameters(), Text("x")), Characters())


def outcome_of(preparer: Preparer[PreparedItem]) -> Outcome:
    (body,) = FrameBuffer().feed(_prepare(preparer, job(TokenizeParameters(), Text("a"))))
    return msgspec.msgpack.decode(body, type=Outcome)  # type: ignore[no-any-return]


def test_the_helper_answers_by_itself() -> None:
    outcome = outcome_of(CharacterPreparer())
    assert isinstance(outcome, Answered)
    assert outcome.results == [TokenizeResult(b"a\0\0\0")]


def test_a_backend_without_an_answer_refuses() -> None:
    outcome = outcome_of(Silent())
    assert isinstance(outcome, Refused)
    assert outcome.param == "model"
