"""What a GGUF file says about the embeddings it gives: pooling, attention, sizes.

Pure but for asking for the file's size. The worker and the prepare helper must come to the same answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from backends.llama_cpp.sizes import architecture_value, cell_bytes, file_bytes
from config.parameters import LlamaCppEmbeddingParameters, LlamaCppParameters
from config.schema import ModelSpec

Pooling = Literal["mean", "cls", "last"]
_FILE_POOLING = ("none", "mean", "cls", "last", "rank")
"""llama.cpp's numbers, as `<architecture>.pooling_type` holds them."""
_NOT_CAUSAL = frozenset({"gemma-embedding", "t5encoder"})
"""Architectures that llama.cpp never computes causally, whatever the file says."""
_LONGEST_PIECE = 2048
_COMPUTE_BYTES = 64 * 1024 * 1024
"""Room for llama.cpp's own buffers, beside those that grow with the tokens of a call."""
_ROWS_ALIVE = 16
"""Rows of the model's width that a token needs while it is computed, rounded up from measured peaks."""


class EmbeddingFacts(Struct, frozen=True):
    pooling: Pooling
    causal: bool
    """Each token sees only those before it."""
    dimensions: int
    context_length: int
    """Longest input, tokens."""
    call_tokens: int
    """Most tokens of one call of the library, which then holds whole inputs unless `in_pieces`."""
    in_pieces: bool
    """An input may be computed by several calls: the last token alone gives the vector, and knows all."""
    memory_bytes: int

    @staticmethod
    def of(
        path: Path,
        metadata: Mapping[str, str],
        vocabulary_size: int,
        spec: ModelSpec,
        parameters: LlamaCppEmbeddingParameters,
    ) -> "EmbeddingFacts":
        """Raises ValueError for a file or settings that give no embeddings."""
        causal = is_causal(metadata)
        pooling = _pooling(path, metadata, parameters, causal)
        in_pieces = causal and pooling == "last"
        length = _context_length(path, metadata, parameters, in_pieces)
        call_tokens = parameters.n_ubatch if in_pieces else max(parameters.n_ubatch, length)
        width = int(architecture_value(metadata, "embedding_length") or 0)
        # Room for the logits of every token is there, though nobody reads them; decoders compute them too.
        token_bytes = 4 * ((2 if causal else 1) * vocabulary_size + _ROWS_ALIVE * width)
        cells = length * cell_bytes(metadata, LlamaCppParameters())
        memory = file_bytes(path) + call_tokens * token_bytes + cells + _COMPUTE_BYTES
        return EmbeddingFacts(
            pooling=pooling,
            causal=causal,
            dimensions=int(architecture_value(metadata, "embedding_length_out") or width),
            context_length=length,
            call_tokens=call_tokens,
            in_pieces=in_pieces,
            memory_bytes=spec.memory_bytes or int(memory),
        )


def is_causal(metadata: Mapping[str, str]) -> bool:
    """Whether each token sees only those before it, as in every model that writes text."""
    if metadata.get("general.architecture") in _NOT_CAUSAL:
        return False
    return architecture_value(metadata, "attention.causal") != "false"


def _pooling(
    path: Path, metadata: Mapping[str, str], parameters: LlamaCppEmbeddingParameters, causal: bool
) -> Pooling:
    """As configured, else as the file says, else by the kind of model."""
    number = architecture_value(metadata, "pooling_type")
    own = _FILE_POOLING[int(number)] if number is not None and int(number) < len(_FILE_POOLING) else "none"
    if own == "rank":
        raise ValueError(f"{path.name} is a reranker (pooling by rank): it gives scores, no embeddings")
    pooling = parameters.pooling if parameters.pooling != "auto" else own
    if pooling == "none":
        pooling = "last" if causal else "mean"
    if causal and pooling == "cls":
        raise ValueError(
            f"{path.name} is a causal model: its first token knows nothing of the text, so pooling by cls "
            "gives all texts one vector; use last or mean"
        )
    return "mean" if pooling == "mean" else "cls" if pooling == "cls" else "last"


def _context_length(
    path: Path, metadata: Mapping[str, str], parameters: LlamaCppEmbeddingParameters, in_pieces: bool
) -> int:
    trained = int(architecture_value(metadata, "context_length") or 0)
    if trained <= 0:
        raise ValueError(f"{path.name} states no context length: it is no text model")
    if parameters.n_ctx == "auto":
        return trained if in_pieces else min(trained, _LONGEST_PIECE)
    if parameters.n_ctx > trained:
        raise ValueError(f"n_ctx is {parameters.n_ctx}, but {path.name} was trained for {trained} tokens")
    return parameters.n_ctx
