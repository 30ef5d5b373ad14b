"""Streamed chat answers as OpenAI shapes them: chunks whose bytes are built once a stream.

A piece that is plain text, as nearly all are, costs two joins and the quoting of its text; the others are
encoded whole.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from backends.protocol import CallDelta, Delta, GenerationResult
from compat.openai.answers import Answer, ChunkFrames, encode, quote
from compat.openai.chat_answers import ChatForm, finish_reason
from compat.openai.logprobs import chat_logprobs


class ChunkFunction(Struct, frozen=True):
    arguments: str
    name: str | UnsetType = UNSET


class ChunkCall(Struct, frozen=True):
    """A piece of a call; only its first has id, type and name."""

    index: int
    function: ChunkFunction
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class ChunkDelta(Struct, frozen=True):
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    tool_calls: list[ChunkCall] | UnsetType = UNSET
    function_call: ChunkFunction | UnsetType = UNSET


class ChatChunks(ChunkFrames):
    """Frames of one chat stream, in order: `opening`, `delta`…, `finish` a choice, `closing`."""

    def __init__(self, answer: Answer, form: ChatForm, include_usage: bool) -> None:
        head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,'
            b'"service_tier":"default","system_fingerprint":%b,"choices":['
            % (quote(answer.id), answer.created, quote(answer.model), quote(answer.fingerprint))
        )
        super().__init__(head, include_usage, form.answers)
        self._form = form
        self._before = [head + b'{"index":%d,"delta":{"content":' % index for index in range(form.answers)]
        self._after = b'},"logprobs":null,"finish_reason":null}' + self._tail

    def opening(self) -> bytes:
        # Where there may be calls instead of text, the content stays null until there is some.
        content = b'""' if self._form.calls == "none" else b"null"
        delta = b'{"role":"assistant","content":%b,"refusal":null}' % content
        return b"".join(self._frame(index, delta) for index in range(self._form.answers))

    def delta(self, delta: Delta) -> bytes:
        if delta.calls or delta.reasoning or delta.logprobs:
            return self._with_more_than_text(delta)
        if delta.text:
            return self._before[delta.item] + quote(delta.text) + self._after
        return b""

    def finish(self, item: int, result: GenerationResult) -> bytes:
        return self._frame(item, b"{}", finish=quote(finish_reason(result, self._form.calls)))

    def _with_more_than_text(self, delta: Delta) -> bytes:
        older = self._form.calls == "function_call"
        reasoning = delta.reasoning or UNSET
        said = ChunkDelta(
            reasoning_content=reasoning,
            reasoning=reasoning,
            content=delta.text or UNSET,
            tool_calls=_calls(delta.calls) if delta.calls and not older else UNSET,
            function_call=_function_call(delta.calls) if older else UNSET,
        )
        logprobs = bytes(chat_logprobs(delta.logprobs)) if delta.logprobs else b"null"
        return self._frame(delta.item, encode(said), logprobs)

    def _frame(self, index: int, delta: bytes, logprobs: bytes = b"null", finish: bytes = b"null") -> bytes:
        choice = b'{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":%b}' % (
            index,
            delta,
            logprobs,
            finish,
        )
        return self._head + choice + self._tail


def _calls(pieces: Sequence[CallDelta]) -> list[ChunkCall]:
    """One entry a call: clients put entries together by their index, and expect each index once a chunk."""
    joined: dict[int, CallDelta] = {}
    for piece in pieces:
        before = joined.get(piece.index)
        joined[piece.index] = piece if before is None else _join(before, piece)
    return [
        ChunkCall(
            piece.index,
            ChunkFunction(piece.arguments, piece.name or UNSET),
            piece.id or UNSET,
            "function" if piece.id else UNSET,
        )
        for piece in joined.values()
    ]


def _join(first: CallDelta, then: CallDelta) -> CallDelta:
    return CallDelta(
        first.index, first.arguments + then.arguments, first.id or then.id, first.name or then.name
    )


def _function_call(pieces: Sequence[CallDelta]) -> ChunkFunction | UnsetType:
    """The older shape holds the first call only."""
    for call in _calls([piece for piece in pieces if piece.index == 0]):
        return call.function
    return UNSET
