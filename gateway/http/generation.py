"""The results of a job that is not streamed, and their rendering."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from backends.protocol import (
    CaptionResult,
    ClassifyResult,
    DetokenizeResult,
    EmbeddingResult,
    GenerationResult,
    ItemDone,
    PaintResult,
    PictureDelta,
    TokenizeResult,
    TranscriptionResult,
)
from compat.openai.answers import Answer
from compat.openai.image_answers import Painted
from gateway.engine.errors import InternalError
from gateway.engine.stream import JobStream

R = TypeVar(
    "R",
    GenerationResult,
    EmbeddingResult,
    TokenizeResult,
    DetokenizeResult,
    TranscriptionResult,
    CaptionResult,
    ClassifyResult,
)
F = TypeVar("F")

_MANY_LOGPROBS = 1000
"""More log-probabilities are rendered on a thread: it may take longer than the event loop may pause."""


async def generate(stream: JobStream) -> list[GenerationResult]:
    """The texts of a generation, in the order of its items. Raises the job's GatewayError."""
    return await results_of(stream, GenerationResult)


async def rendered(
    results: list[GenerationResult],
    render: Callable[[Answer, list[GenerationResult], F], bytes],
    answer: Answer,
    form: F,
) -> bytes:
    """The bytes of the answer."""
    logprobs = sum(1 + len(token.top) for result in results for token in result.logprobs)
    if logprobs <= _MANY_LOGPROBS:
        return render(answer, results, form)
    return await asyncio.to_thread(render, answer, results, form)


async def embed(stream: JobStream) -> list[EmbeddingResult]:
    """The vectors of an embedding job, in the order of its items. Raises the job's GatewayError."""
    return await results_of(stream, EmbeddingResult)


async def single(stream: JobStream, kind: type[R]) -> R:
    """The result of a job of one item. Raises the job's GatewayError."""
    return (await results_of(stream, kind))[0]


async def painted(stream: JobStream) -> list[Painted]:
    """The pictures of a job that is not streamed, in their order. Raises the job's GatewayError."""
    async with stream:
        outputs = await stream.outputs()
    data: dict[int, list[bytes]] = {}
    results: dict[int, PaintResult] = {}
    for output in outputs:
        if isinstance(output, PictureDelta) and output.preview < 0:
            data.setdefault(output.item, []).append(output.data)
        elif isinstance(output, ItemDone) and isinstance(output.result, PaintResult):
            results[output.item] = output.result
    if len(results) != stream.job.result_count or set(data) != set(results):
        raise InternalError("The model gave a result of the wrong kind.")
    return [Painted(b"".join(data[item]), results[item]) for item in sorted(results)]


async def results_of(stream: JobStream, kind: type[R]) -> list[R]:
    """The results of any job, in the order of its items. Raises the job's GatewayError."""
    async with stream:
        results, _ = await stream.results()
    expected: list[R] = [result for result in results if isinstance(result, kind)]
    if len(expected) != len(results):
        raise InternalError("The model gave a result of the wrong kind.")
    return expected
