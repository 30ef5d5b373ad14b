"""The results of a job that is not streamed."""

from backends.protocol import EmbeddingResult, GenerationResult
from gateway.engine.errors import InternalError
from gateway.engine.stream import JobStream


async def generate(stream: JobStream) -> list[GenerationResult]:
    """The texts of a generation, in the order of its items. Raises the job's GatewayError."""
    async with stream:
        results, _ = await stream.results()
    generated = [result for result in results if isinstance(result, GenerationResult)]
    if len(generated) != len(results):
        raise InternalError("The model gave a result of the wrong kind.")
    return generated


async def embed(stream: JobStream) -> list[EmbeddingResult]:
    """The vectors of an embedding job, in the order of its items. Raises the job's GatewayError."""
    async with stream:
        results, _ = await stream.results()
    embedded = [result for result in results if isinstance(result, EmbeddingResult)]
    if len(embedded) != len(results):
        raise InternalError("The model gave a result of the wrong kind.")
    return embedded
