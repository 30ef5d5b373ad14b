"""Jobs that ask for tokens themselves: tokenize and detokenize, answered in the prepare helper.

Owns their limits and the check of ids. Must not know any tokenizer library: a backend shows its own as a
Tokenizer.
"""

from array import array
from collections.abc import Sequence
from sys import byteorder
from typing import Protocol

from backends.base import JobError
from backends.protocol import (
    Chat,
    DetokenizeResult,
    Item,
    Job,
    JobTask,
    Result,
    TokenizeParameters,
    TokenizeResult,
    Tokens,
)

TOKEN_TASKS: list[JobTask] = ["tokenize", "detokenize"]
"""What the description of every model names whose preparer answers these jobs."""

MAX_TOKENS = 1_000_000
"""Most tokens of one answer: it must fit in a frame, with every token's piece."""


class Tokenizer(Protocol):
    """A model's tokenizer, as these jobs see it."""

    size: int
    """Ids run from 0 to below this."""

    def encode(self, item: Item, parameters: TokenizeParameters) -> list[int]:
        """Ids of a text or of a rendered conversation. Raises JobError."""

    def piece(self, token: int) -> bytes:
        """What one token stands for; a control token as it is written."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these tokens, control tokens as they are written."""


def answer(job: Job, tokenizer: Tokenizer) -> list[Result]:
    """One result for each item of a tokenize or detokenize job. Raises JobError naming what is wrong."""
    if isinstance(job.parameters, TokenizeParameters):
        parameters = job.parameters
        return [_tokenize(item, parameters, tokenizer) for item in job.items]
    return [_detokenize(item, tokenizer) for item in job.items]


def _tokenize(item: Item, parameters: TokenizeParameters, tokenizer: Tokenizer) -> TokenizeResult:
    ids = tokenizer.encode(item, parameters)
    if len(ids) > MAX_TOKENS:
        param = "messages" if isinstance(item, Chat) else "prompt"
        raise JobError(f"{param!r} has {len(ids)} tokens; at most {MAX_TOKENS} can be listed.", param=param)
    packed = array("i", ids)
    if byteorder == "big":
        packed.byteswap()
    pieces = [tokenizer.piece(token) for token in ids] if parameters.pieces else []
    return TokenizeResult(packed.tobytes(), pieces)


def _detokenize(item: Item, tokenizer: Tokenizer) -> DetokenizeResult:
    if not isinstance(item, Tokens):
        raise JobError("only token ids can become text", param="tokens")
    if len(item.ids) > MAX_TOKENS:
        raise JobError(f"at most {MAX_TOKENS} tokens, got {len(item.ids)}", param="tokens")
    wrong = next((token for token in item.ids if not 0 <= token < tokenizer.size), None)
    if wrong is not None:
        raise JobError(
            f"{wrong} is no token id of this model: they run from 0 to {tokenizer.size - 1}.",
            param="tokens",
            code="invalid_token_id",
        )
    return DetokenizeResult(tokenizer.decode(item.ids))
