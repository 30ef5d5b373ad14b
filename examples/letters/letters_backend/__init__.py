"""A backend for LLM-Cortex that embeds a text as the counts of its letters."""

import string
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from backends.base import Backend, BatchEngine, JobError, PreparedItem, Preparer
from backends.protocol import Description, EmbeddingResult, Job, Result, Text
from config.schema import ModelSpec


class LettersParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """`parameters:` of a model in the configuration file."""

    alphabet: str = string.ascii_lowercase


class Letters(PreparedItem):
    """What goes from the preparer to the engine: msgpack-encodable."""

    text: str


class LettersPreparer(Preparer[Letters]):
    """Runs in a helper process that may be killed; the request's own faults are found here."""

    def prepare(self, job: Job) -> list[Letters]:
        items = []
        for index, item in enumerate(job.items):
            if not isinstance(item, Text):
                raise JobError(f"Input {index} must be text.", param="input")
            items.append(Letters(item.text.lower()))
        return items


class LettersEngine(BatchEngine[Letters]):
    max_batch_cost = 100_000  # letters in one call
    max_batch_items = 256

    def __init__(self, alphabet: str) -> None:
        self._alphabet = alphabet

    def warm_up(self) -> None:
        self.forward([None], [Letters("a")])

    def cost(self, item: Letters) -> int:
        return len(item.text)

    def forward(self, job_parameters: Sequence[Any], items: Sequence[Letters]) -> list[Result]:
        return [self._embed(item.text) for item in items]

    def _embed(self, text: str) -> EmbeddingResult:
        counts = [float(text.count(letter)) for letter in self._alphabet]
        return EmbeddingResult(struct.pack(f"<{len(counts)}f", *counts), len(counts), prompt_tokens=len(text))


class LettersBackend(Backend[Letters]):
    prepared_type = Letters

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, LettersParameters)

    def describe(self) -> Description:
        """In a short-lived process, before any load: read headers, import nothing heavy."""
        length = len(self.parameters.alphabet)
        return Description(tasks=["embed"], parameters=[], dimensions=length, memory_bytes=1024)

    def preparer(self) -> LettersPreparer:
        return LettersPreparer()

    def load(self, device: str) -> LettersEngine:
        """In the worker: here the heavy imports and the weights (`self.weights`) belong."""
        return LettersEngine(self.parameters.alphabet)
