"""Text completions as OpenAI shapes them: one object, or chunks whose bytes are built once a stream."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from backends.protocol import GenerationResult
from compat.openai.answers import Answer, ChunkFrames, Usage, encode, quote, usage_of


class TextChoice(Struct, frozen=True):
    index: int
    text: str
    finish_reason: str
    logprobs: None = None


class Completion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    system_fingerprint: str


def render_completion(answer: Answer, results: Sequence[GenerationResult]) -> bytes:
    """The whole answer of a job that was not streamed, one choice a prompt."""
    return encode(
        Completion(
            id=answer.id,
            created=answer.created,
            model=answer.model,
            choices=[
                TextChoice(index, result.text, result.finish_reason) for index, result in enumerate(results)
            ],
            usage=usage_of(results),
            system_fingerprint=answer.fingerprint,
        )
    )


class CompletionChunks(ChunkFrames):
    """Frames of one stream of completions, in order: `opening`, `delta`…, `finish` an item, `closing`."""

    def __init__(self, answer: Answer, items: int, include_usage: bool) -> None:
        head = (
            b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,'
            b'"system_fingerprint":%b,"choices":['
            % (quote(answer.id), answer.created, quote(answer.model), quote(answer.fingerprint))
        )
        super().__init__(head, include_usage)
        self._before = [self._head + b'{"index":%d,"text":' % item for item in range(items)]
        self._after = b',"logprobs":null,"finish_reason":null}' + self._tail

    def opening(self) -> bytes:
        return b""

    def delta(self, item: int, text: str) -> bytes:
        return self._before[item] + quote(text) + self._after

    def finish(self, item: int, result: GenerationResult) -> bytes:
        reason = quote(result.finish_reason)
        return self._before[item] + b'"","logprobs":null,"finish_reason":%b}' % reason + self._tail
