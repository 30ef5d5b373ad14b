"""Sentence embeddings by transformers: texts in, one vector each out.

Owns the way from a model folder in the layout of sentence-transformers (`config.json`, `tokenizer.json`,
`1_Pooling/`, safetensors) to vectors. Only `engine` may import torch and transformers, and it is imported
by `load` alone, so that describing a model and preparing its inputs stay fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.protocol import Description
from backends.sentence.files import ModelFacts, batch_tokens, read_facts
from backends.sentence.prepare import SentenceItem, SentencePreparer
from backends.tokens import TOKEN_TASKS
from config.parameters import SentenceParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.sentence.engine import SentenceEngine

__all__ = ["SentenceBackend", "SentenceItem"]

RUNTIME_BYTES = 320 * 1024 * 1024
"""What torch and transformers take before any weights, measured on Linux x86-64."""


class SentenceBackend(Backend[SentenceItem]):
    """An encoder model with mean or cls pooling. Raises ValueError for a folder it cannot serve rightly."""

    prepared_type = SentenceItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, SentenceParameters)

    def facts(self) -> ModelFacts:
        return read_facts(self.weights, self.parameters)

    def describe(self) -> Description:
        facts = self.facts()
        # `auto` may yet become a GPU: estimate for the larger batches of one.
        activations = facts.token_activation_bytes * batch_tokens(self.parameters, self.spec.device)
        return Description(
            tasks=["embed", *TOKEN_TASKS],
            parameters=[],
            context_length=facts.max_tokens,
            dimensions=facts.dimensions,
            vocabulary_size=facts.vocabulary_size,
            memory_bytes=RUNTIME_BYTES + facts.weights_bytes + activations,
            licence=self.spec.licence or "",
            details={
                "architecture": facts.architecture,
                "pooling": facts.pooling,
                "dtype": self.parameters.dtype,
                "token_input": self.parameters.token_input,
            },
        )

    def preparer(self) -> SentencePreparer:
        return SentencePreparer(self.weights, self.facts(), self.parameters.token_input)

    def load(self, device: str) -> "SentenceEngine":
        from backends.sentence.engine import SentenceEngine

        return SentenceEngine.load(self.weights, self.facts(), self.parameters, device)
