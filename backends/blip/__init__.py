"""Captions by BLIP: pictures in, a sentence each out, whole or continued from a prompt.

Owns the way from a model folder in transformers' layout to captions. Only `engine` may import torch and
transformers, and it is imported by `load` alone, so that describing a model and preparing its pictures stay
fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.blip.files import BlipFacts, read_facts
from backends.blip.prepare import BlipItem, BlipPreparer
from backends.protocol import Description
from backends.vision.files import dtype_on, memory_bytes
from backends.vision.pictures import most_pictures
from config.parameters import BlipParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.blip.engine import BlipEngine

__all__ = ["BlipBackend", "BlipItem"]


class BlipBackend(Backend[BlipItem]):
    """Raises ValueError for a folder that holds no BLIP captioner."""

    prepared_type = BlipItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, BlipParameters)

    def facts(self) -> BlipFacts:
        return read_facts(self.weights, self.parameters)

    def describe(self) -> Description:
        if self.spec.tasks != ["caption"]:
            raise ValueError(f"{self.spec.name}: a BLIP model does 'caption' and nothing else")
        facts = self.facts()
        return Description(
            tasks=["caption"],
            parameters=["prompt", "max_tokens"],
            context_length=facts.positions,
            vocabulary_size=facts.vocabulary_size,
            memory_bytes=memory_bytes(self.weights, facts.vision, self.spec.device, self.parameters),
            licence=self.spec.licence or "",
            details={
                "architecture": "BlipForConditionalGeneration",
                "dtype": self.parameters.dtype,
                "pixels": f"{facts.preprocessing.width}x{facts.preprocessing.height}",
            },
            device_kinds=["cuda", "cpu"],
            limits={"images": most_pictures(facts.preprocessing)},
        )

    def preparer(self) -> BlipPreparer:
        return BlipPreparer(self.weights, self.facts(), self.parameters)

    def load(self, device: str) -> "BlipEngine":
        from backends.blip.engine import BlipEngine

        return BlipEngine.load(
            self.weights, self.facts(), self.parameters, device, dtype_on(device, self.parameters)
        )
