"""The engine: many texts through one call of llama.cpp, one vector each.

Owns the context and its batch. Gets batches already cut to a token budget; must not queue, split or time
anything itself.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.base import BatchEngine, OutOfMemory
from backends.cores import usable_cores
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.batch import Batch
from backends.llama_cpp.embedding.facts import EmbeddingFacts
from backends.llama_cpp.library import C
from backends.llama_cpp.load import FLASH_ATTENTION, model_settings
from backends.llama_cpp.model import Context, Model, TokenArray, open_model
from backends.protocol import EmbeddingResult, Result
from config.parameters import LlamaCppEmbeddingParameters
from config.schema import ModelSpec

_POOLING = {"mean": 1, "cls": 2, "last": 3}
_NO_MEMORY = -2


class LlamaEmbeddingEngine(BatchEngine[PreparedPrompt]):
    def __init__(
        self,
        model: Model,
        context: "EmbeddingContext",
        facts: EmbeddingFacts,
        parameters: LlamaCppEmbeddingParameters,
    ) -> None:
        self._model = model
        self._context = context
        self._normalize = parameters.normalize
        self._batch = Batch(facts.call_tokens, parameters.n_seq_max, model.vocabulary.size)
        self.max_batch_cost = parameters.n_ubatch
        self.max_batch_items = parameters.n_seq_max

    def warm_up(self) -> None:
        self.forward([None], [PreparedPrompt(np.zeros(1, dtype="<i4").tobytes())])

    def cost(self, item: PreparedPrompt) -> int:
        return len(item.tokens) // 4

    def padded_cost(self, costs: Sequence[int]) -> int:
        """Texts stand one after the other: nothing is padded."""
        return sum(costs)

    def forward(self, job_parameters: Sequence[Any], items: Sequence[PreparedPrompt]) -> list[Result]:
        """One vector an item. An item over the budget comes alone, as the batcher does it."""
        sequences = [np.frombuffer(item.tokens, dtype="<i4") for item in items]
        try:
            self._compute(sequences)
            vectors = [self._vector(index) for index in range(len(sequences))]
        finally:
            self._batch.clear()
            self._context.clear()
        return [
            EmbeddingResult(vector.astype("<f4").tobytes(), len(vector), prompt_tokens=len(tokens))
            for vector, tokens in zip(vectors, sequences, strict=True)
        ]

    def close(self) -> None:
        self._context.close()
        self._model.close()

    def _compute(self, sequences: Sequence[TokenArray]) -> None:
        batch = self._batch
        for seq_id, tokens in enumerate(sequences):
            for start in range(0, len(tokens), batch.capacity):
                piece = tokens[start : start + batch.capacity]
                if len(batch) + len(piece) > batch.capacity:
                    self._call()
                batch.add(seq_id, piece, start, want_last=True)
        self._call()

    def _call(self) -> None:
        batch = self._batch
        batch.wanted[: len(batch)] = 1  # pooling reads every token
        batch.check()
        status = self._context.compute(batch.raw)
        if status == _NO_MEMORY:
            raise OutOfMemory(f"llama.cpp has no memory for {len(batch)} tokens")
        if status != 0:
            raise RuntimeError(f"llama.cpp failed with status {status}")
        batch.clear()

    def _vector(self, seq_id: int) -> npt.NDArray[np.float32]:
        vector = self._context.pooled(seq_id)
        length = float(np.linalg.norm(vector))
        if not math.isfinite(length):
            raise ArithmeticError("the model's result is not a finite number")
        return vector / length if self._normalize and length > 0 else vector


class EmbeddingContext(Context):
    """A context whose results are pooled vectors."""

    def __init__(self, model: Model, params: Any) -> None:
        super().__init__(model, params)
        self.dimensions = int(C.llama_model_n_embd_out(model.handle))
        # Only the T5 family has an encoder in llama.cpp's sense; all others answer to decode, BERT too.
        self._encodes = bool(C.llama_model_has_encoder(model.handle))

    def compute(self, batch: Any) -> int:
        """0: done. -2: no memory. Else failed."""
        return int(C.llama_encode(self.handle, batch)) if self._encodes else self.decode(batch)

    def pooled(self, seq_id: int) -> npt.NDArray[np.float32]:
        """A copy of the vector of a sequence that the last call ended."""
        pointer = C.llama_get_embeddings_seq(self.handle, seq_id)
        if not pointer:
            raise RuntimeError(f"llama.cpp gave no vector for sequence {seq_id}")
        return np.ctypeslib.as_array(pointer, shape=(self.dimensions,)).copy()

    def clear(self) -> None:
        """Forget all sequences; what they left in the cells need not be wiped."""
        if self._memory:
            C.llama_memory_clear(self._memory, False)


def load_embedding_engine(
    spec: ModelSpec, parameters: LlamaCppEmbeddingParameters, path: Path, device: str
) -> LlamaEmbeddingEngine:
    """Raises ValueError for files that give no embeddings, OutOfMemory where they do not fit."""
    model = open_model(path, **model_settings(spec, parameters, device))
    try:
        facts = EmbeddingFacts.of(path, model.metadata(), model.vocabulary.size, spec, parameters)
        context = EmbeddingContext(model, _context_params(facts, parameters, device))
        if context.dimensions != facts.dimensions:
            context.close()
            raise ValueError(f"{path.name} gives {context.dimensions} dimensions, not {facts.dimensions}")
    except MemoryError as error:
        model.close()
        raise OutOfMemory(f"{spec.name}: no room for {facts.call_tokens} tokens at once") from error
    except ValueError:
        model.close()
        raise
    return LlamaEmbeddingEngine(model, context, facts, parameters)


def _context_params(facts: EmbeddingFacts, parameters: LlamaCppEmbeddingParameters, device: str) -> Any:
    params = C.llama_context_default_params()
    threads = usable_cores() if parameters.n_threads == "auto" else parameters.n_threads
    params.embeddings = True
    params.pooling_type = _POOLING[facts.pooling]
    params.attention_type = (
        C.LLAMA_ATTENTION_TYPE_CAUSAL if facts.causal else C.LLAMA_ATTENTION_TYPE_NON_CAUSAL
    )
    params.n_ctx = max(facts.context_length, facts.call_tokens)
    # llama.cpp asserts that a call without causal attention is computed in one piece.
    params.n_batch = params.n_ubatch = facts.call_tokens
    params.n_seq_max = parameters.n_seq_max
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = FLASH_ATTENTION[parameters.flash_attn]
    params.offload_kqv = params.op_offload = device != "cpu"
    params.kv_unified = True
    params.no_perf = True
    return params
