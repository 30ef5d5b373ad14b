"""Text completions as OpenAI shapes them: one object, or chunks whose bytes are built once a stream."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from msgspec import Raw, Struct

from backends.protocol import Delta, GenerationResult
from compat.openai.answers import Answer, ChunkFrames, Usage, encode, quote, usage_of
from compat.openai.logprobs import CompletionLogprobs


class CompletionForm(Struct, frozen=True):
    """What of a request decides the shape of its answer."""

    answers: int = 1
    """Choices to each prompt."""
    candidates: int = 1
    """Answers the model gives to each prompt; the likeliest become choices."""
    logprobs: bool = False
    echo: bool = False


class TextChoice(Struct, frozen=True):
    index: int
    text: str
    finish_reason: str
    logprobs: Raw | None = None


class Completion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
    system_fingerprint: str


def render_completion(answer: Answer, results: Sequence[GenerationResult], form: CompletionForm) -> bytes:
    """The whole answer of a job that was not streamed: one prompt's choices after the other's."""
    return encode(
        Completion(
            id=answer.id,
            created=answer.created,
            model=answer.model,
            choices=[
                TextChoice(
                    index,
                    result.text,
                    result.finish_reason,
                    CompletionLogprobs().render(result.logprobs) if form.logprobs else None,
                )
                for index, result in enumerate(_chosen(results, form))
            ],
            usage=usage_of(results, form.candidates),
            system_fingerprint=answer.fingerprint,
        )
    )


def _chosen(results: Sequence[GenerationResult], form: CompletionForm) -> Sequence[GenerationResult]:
    """Of each prompt's candidates the likeliest by token, likeliest first."""
    if form.candidates == form.answers:
        return results
    chosen: list[GenerationResult] = []
    for start in range(0, len(results), form.candidates):
        candidates = results[start : start + form.candidates]
        ranked = sorted(candidates, key=lambda result: _mean_logprob(result, form.echo), reverse=True)
        chosen += ranked[: form.answers]
    return chosen


def _mean_logprob(result: GenerationResult, echo: bool) -> float:
    """Of the answer's own tokens; an empty answer says nothing for itself."""
    own = result.logprobs[result.prompt_tokens if echo else 0 :]
    values = [token.logprob for token in own if token.logprob is not None]
    return sum(values) / len(values) if values else float("-inf")


class CompletionChunks(ChunkFrames):
    """Frames of one stream of completions, in order: `opening`, `delta`…, `finish` a choice, `closing`."""

    def __init__(self, answer: Answer, items: int, form: CompletionForm, include_usage: bool) -> None:
        head = (
            b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,'
            b'"system_fingerprint":%b,"choices":['
            % (quote(answer.id), answer.created, quote(answer.model), quote(answer.fingerprint))
        )
        super().__init__(head, include_usage, form.answers)
        self._before = [head + b'{"index":%d,"text":' % index for index in range(items * form.answers)]
        self._after = b',"logprobs":null,"finish_reason":null}' + self._tail
        self._logprobs: defaultdict[int, CompletionLogprobs] = defaultdict(CompletionLogprobs)

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: Delta) -> bytes:
        if delta.logprobs:
            logprobs = bytes(self._logprobs[delta.item].render(delta.logprobs))
            said = quote(delta.text) + b',"logprobs":%b,"finish_reason":null}' % logprobs
            return self._before[delta.item] + said + self._tail
        if delta.text:
            return self._before[delta.item] + quote(delta.text) + self._after
        return b""

    def finish(self, item: int, result: GenerationResult) -> bytes:
        reason = quote(result.finish_reason)
        return self._before[item] + b'"","logprobs":null,"finish_reason":%b}' % reason + self._tail
