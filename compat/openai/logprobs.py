"""Log-probabilities as the two routes write them.

A token's text is its own bytes as UTF-8, with U+FFFD where they are part of a character only; chat has the
exact bytes beside it. Encoded token by token: one call for all would hold the interpreter lock for its whole
time.
"""

import codecs
import math
from collections.abc import Sequence

from msgspec import Raw, Struct, field

from backends.protocol import TokenLogprob, TopLogprob
from compat.openai.answers import encode

FLOOR = -9999.0
"""What stands for "very unlikely": JSON has no infinities."""


class ChatTopLogprob(Struct, frozen=True):
    token: str
    logprob: float
    octets: list[int] = field(name="bytes")


class ChatTokenLogprob(Struct, frozen=True):
    token: str
    logprob: float
    octets: list[int] = field(name="bytes")
    top_logprobs: list[ChatTopLogprob]


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> Raw:
    """The object beside a choice's message or delta."""
    content = b",".join(encode(_chat_token(token)) for token in tokens)
    return Raw(b'{"content":[%b],"refusal":null}' % content)


def _chat_token(token: TokenLogprob) -> ChatTokenLogprob:
    return ChatTokenLogprob(
        token_text(token.token),
        finite(token.logprob),
        list(token.token),
        [ChatTopLogprob(token_text(top.token), finite(top.logprob), list(top.token)) for top in token.top],
    )


class CompletionLogprobs:
    """The older object of one choice; its offsets go on from piece to piece of a stream.

    An offset counts the characters of the choice's text that end before the token begins.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def render(self, tokens: Sequence[TokenLogprob]) -> Raw:
        return Raw(
            b'{"tokens":%b,"token_logprobs":%b,"top_logprobs":[%b],"text_offset":%b}'
            % (
                encode([token_text(token.token) for token in tokens]),
                encode([None if token.logprob is None else finite(token.logprob) for token in tokens]),
                b",".join(encode(_top(token)) for token in tokens),
                encode([self._offset(token.token) for token in tokens]),
            )
        )

    def _offset(self, token: bytes) -> int:
        offset = self._characters
        self._characters += len(self._decoder.decode(token))
        return offset


def _top(token: TokenLogprob) -> dict[str, float] | None:
    """By text, the token itself included; of two tokens that look the same the likelier one stays."""
    if token.logprob is None:
        return None
    by_text: dict[str, float] = {}
    for one in (*token.top, TopLogprob(token.token, token.logprob)):
        by_text.setdefault(token_text(one.token), finite(one.logprob))
    return by_text


def token_text(token: bytes) -> str:
    """With U+FFFD where its bytes are part of a character only."""
    return token.decode("utf-8", "replace")


def finite(logprob: float | None) -> float:
    """At least FLOOR."""
    return logprob if logprob is not None and math.isfinite(logprob) and logprob > FLOOR else FLOOR
