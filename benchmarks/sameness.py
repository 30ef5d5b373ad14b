"""Whether two greedy answers to one prompt are the same but for rounding.

Sums of floating-point numbers depend on what is computed together, so log-probabilities may differ a little,
and two tokens that are as good as equally likely may change places; from there on the answers are different
texts. Anything more is another prompt's state. Owns the reading of log-probabilities and the bounds.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct, field

from benchmarks.client import Answer
from benchmarks.openai_stream import read_whole
from benchmarks.rounds import Seen

LARGEST_DIFFERENCE = 0.5
"""Of one token's log-probability, nats. Another prompt's state moves them by several nats."""
LARGEST_GAP = 0.5
"""Between the two best tokens where the answers part, nats."""


class Token(Struct):
    token: str
    logprob: float
    top_logprobs: "list[Token]" = field(default_factory=list)


class _Logprobs(Struct):
    content: list[Token]


class _Choice(Struct):
    logprobs: _Logprobs


class _Answer(Struct):
    choices: list[_Choice]


class Tokens(Struct, frozen=True):
    """An answer token by token, or why there is none."""

    tokens: list[Token]
    error: str = ""


def read_tokens(answer: Answer) -> Tokens:
    """Reads a chat answer that was not streamed, with `logprobs` and two `top_logprobs`."""
    if error := read_whole(answer):
        return Tokens([], error)
    try:
        return Tokens(msgspec.json.decode(answer.body, type=_Answer).choices[0].logprobs.content)
    except (msgspec.ValidationError, IndexError) as error:
        return Tokens([], f"no log-probabilities in the answer: {error}")


def compared(one: Tokens, other: Tokens) -> Seen:
    """Counts and differences of two answers; what rounding does not explain is an error."""
    if errors := [answer.error for answer in (one, other) if answer.error]:
        return Seen({}, errors)
    common = _common(one.tokens, other.tokens)
    pairs = list(zip(one.tokens, other.tokens, strict=False))
    difference = max((abs(a.logprob - b.logprob) for a, b in pairs[:common]), default=0.0)
    gap = max(map(_gap, pairs[common])) if common < len(pairs) else 0.0
    same = common == len(one.tokens) == len(other.tokens)
    values = {
        "answers": 1.0,
        "same_answers": float(same),
        "logprob_difference": difference,
        "tie_gap": gap,
    }
    sound = difference <= LARGEST_DIFFERENCE and gap <= LARGEST_GAP
    trouble = f"the answers differ: log-probabilities by {difference:.2f}, a choice by {gap:.2f} nats"
    return Seen(values, [] if sound else [trouble])


def _common(one: Sequence[Token], other: Sequence[Token]) -> int:
    """Tokens at the start that are equal."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a.token != b.token), min(len(one), len(other)))


def _gap(token: Token) -> float:
    """How much more likely the best token is than the second."""
    best = sorted((top.logprob for top in token.top_logprobs), reverse=True)
    return best[0] - best[1] if len(best) > 1 else float("inf")
