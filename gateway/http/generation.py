"""The results of a job that is not streamed."""

from typing import TypeVar

from backends.protocol import EmbeddingResult, GenerationResult
from gateway.engine.errors import InternalError
from gateway.engine.stream import JobStream

R = TypeVar("R", GenerationResult, EmbeddingResult)


async def generate(stream: JobStream) -> list[GenerationResult]:
    """The texts of a generation, in the order of its items. Raises the job's GatewayError."""
    return await _results(stream, GenerationResult)


async def embed(stream: JobStream) -> list[EmbeddingResult]:
    """The vectors of an embedding job, in the order of its items. Raises the job's GatewayError."""
    return await _results(stream, EmbeddingResult)


async def _results(stream: JobStream, kind: type[R]) -> list[R]:
    async with stream:
        results, _ = await stream.results()
    expected: list[R] = [result for result in results if isinstance(result, kind)]
    if len(expected) != len(results):
        raise InternalError("The model gave a result of the wrong kind.")
    return expected
