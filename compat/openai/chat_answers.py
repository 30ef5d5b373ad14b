"""Chat answers as OpenAI shapes them: one object, or chunks whose bytes are built once a stream."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from backends.protocol import GenerationResult
from compat.openai.answers import Answer, ChunkFrames, Usage, encode, quote, usage_of


class AnswerMessage(Struct, frozen=True):
    role: Literal["assistant"]
    content: str
    refusal: None = None
    annotations: list[str] = []


class ChatChoice(Struct, frozen=True):
    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: None = None


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: Literal["default"] = "default"
    system_fingerprint: str


def render_chat(answer: Answer, results: Sequence[GenerationResult]) -> bytes:
    """The whole answer of a job that was not streamed."""
    return encode(
        ChatCompletion(
            id=answer.id,
            created=answer.created,
            model=answer.model,
            choices=[
                ChatChoice(index, AnswerMessage("assistant", result.text), result.finish_reason)
                for index, result in enumerate(results)
            ],
            usage=usage_of(results),
            system_fingerprint=answer.fingerprint,
        )
    )


class ChatChunks(ChunkFrames):
    """Frames of one chat stream, in order: `opening`, `delta`…, `finish` an item, `closing`."""

    def __init__(self, answer: Answer, items: int, include_usage: bool) -> None:
        head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,'
            b'"service_tier":"default","system_fingerprint":%b,"choices":['
            % (quote(answer.id), answer.created, quote(answer.model), quote(answer.fingerprint))
        )
        super().__init__(head, include_usage)
        self._items = items
        self._before = [self._head + b'{"index":%d,"delta":{"content":' % item for item in range(items)]
        self._after = b'},"logprobs":null,"finish_reason":null}' + self._tail

    def opening(self) -> bytes:
        return b"".join(
            self._head
            + b'{"index":%d,"delta":{"role":"assistant","content":"","refusal":null},' % item
            + b'"logprobs":null,"finish_reason":null}'
            + self._tail
            for item in range(self._items)
        )

    def delta(self, item: int, text: str) -> bytes:
        return self._before[item] + quote(text) + self._after

    def finish(self, item: int, result: GenerationResult) -> bytes:
        reason = quote(result.finish_reason)
        return (
            self._head
            + b'{"index":%d,"delta":{},"logprobs":null,"finish_reason":%b}' % (item, reason)
            + self._tail
        )
