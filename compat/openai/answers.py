"""What every OpenAI answer carries: its identity, usage, and how it becomes bytes."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from backends.protocol import GenerationResult

_encoder = msgspec.json.Encoder()


class Answer(Struct, frozen=True):
    """Identity of one answer; `model` is the name of the model that really answers, never an alias."""

    id: str
    created: int
    model: str
    fingerprint: str


class PromptTokensDetails(Struct, frozen=True):
    cached_tokens: int
    audio_tokens: int = 0


class CompletionTokensDetails(Struct, frozen=True):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails = CompletionTokensDetails()


def usage_of(results: Sequence[GenerationResult], answers: int = 1) -> Usage:
    """Usage of all items together, `answers` results each: an item's prompt was computed once."""
    prompts = results[::answers]
    prompt = sum(result.prompt_tokens for result in prompts)
    completion = sum(result.completion_tokens for result in results)
    return Usage(
        prompt,
        completion,
        prompt + completion,
        PromptTokensDetails(
            sum(result.cached_tokens for result in prompts), sum(result.audio_tokens for result in prompts)
        ),
        CompletionTokensDetails(
            reasoning_tokens=sum(result.reasoning_tokens for result in results),
            accepted_prediction_tokens=sum(result.accepted_draft_tokens for result in results),
        ),
    )


def encode(answer: object) -> bytes:
    """As JSON. Floats must be finite."""
    return _encoder.encode(answer)


def quote(text: str) -> bytes:
    """A text as a JSON string. Model output holds no lone surrogate: it arrives as checked UTF-8."""
    return _encoder.encode(text)


def event(payload: bytes) -> bytes:
    """One SSE frame."""
    return b"data: " + payload + b"\n\n"


DONE = b"data: [DONE]\n\n"


class ChunkFrames:
    """What the frames of every stream of generations share.

    `head` is a chunk up to its choices; `answers` is how many each item gets.
    """

    def __init__(self, head: bytes, include_usage: bool, answers: int) -> None:
        self._head = head
        self._answers = answers
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._include_usage = include_usage

    def closing(self, results: Sequence[GenerationResult]) -> bytes:
        """The usage chunk if it is wanted, and the end."""
        if not self._include_usage:
            return DONE
        return self._head + b'],"usage":' + encode(usage_of(results, self._answers)) + b"}\n\n" + DONE
