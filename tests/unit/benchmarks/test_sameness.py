"""What counts as the same answer: rounding does, another prompt's state does not."""

import msgspec
import pytest

from benchmarks.client import Answer
from benchmarks.sameness import Token, Tokens, compared, read_tokens


def tokens(*pairs: tuple[str, float], gap: float = 2.0) -> Tokens:
    return Tokens(
        [Token(text, logprob, [Token(text, logprob), Token("?", logprob - gap)]) for text, logprob in pairs]
    )


def test_equal_answers_are_equal() -> None:
    one = tokens(("a", -0.1), ("b", -0.2))
    seen = compared(one, one)
    assert (seen.errors, seen.values["same_answers"], seen.values["tie_gap"]) == ([], 1.0, 0.0)


def test_a_choice_between_two_as_good_as_equal_tokens_is_rounding() -> None:
    seen = compared(tokens(("a", -0.1), ("b", -0.7), gap=0.01), tokens(("a", -0.1), ("c", -0.7), gap=0.02))
    assert (seen.errors, seen.values["same_answers"]) == ([], 0.0)
    assert seen.values["tie_gap"] == pytest.approx(0.02)


def test_a_choice_that_was_clear_is_none() -> None:
    assert "a choice by 2.00" in compared(tokens(("a", -0.1)), tokens(("b", -0.1))).errors[0]


def test_other_log_probabilities_are_another_state() -> None:
    assert "log-probabilities by 3.00" in compared(tokens(("a", -0.1)), tokens(("a", -3.1))).errors[0]


def test_an_answer_that_ends_early_is_not_equal() -> None:
    assert compared(tokens(("a", -0.1)), tokens(("a", -0.1), ("b", -0.1))).values["same_answers"] == 0.0


def test_log_probabilities_are_read_from_an_answer() -> None:
    content = [
        {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "a", "logprob": -0.5}]}
    ]
    body = msgspec.json.encode({"choices": [{"logprobs": {"content": content}}]})
    read = read_tokens(Answer(sent_at=0.0, status=200, body=body))
    assert (read.error, read.tokens[0].token, read.tokens[0].top_logprobs[0].logprob) == ("", "a", -0.5)


@pytest.mark.parametrize("body", [b'{"choices":[{"logprobs":null}]}', b'{"choices":[]}'])
def test_an_answer_without_them_is_an_error(body: bytes) -> None:
    assert "no log-probabilities" in read_tokens(Answer(sent_at=0.0, status=200, body=body)).error


def test_a_refusal_is_an_error() -> None:
    refused = read_tokens(Answer(sent_at=0.0, status=400, body=b"no"))
    assert compared(refused, tokens(("a", -0.1))).errors == ["HTTP 400: no"]
