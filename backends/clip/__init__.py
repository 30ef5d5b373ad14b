"""CLIP: pictures weighed against labels, and pictures and texts as vectors of one space.

Owns the way from a model folder in transformers' layout to scores and vectors. Only `engine` may import torch
and transformers, and it is imported by `load` alone, so that describing a model and preparing its inputs stay
fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.clip.files import ClipFacts, read_facts
from backends.clip.prepare import ClipItem, ClipPreparer
from backends.protocol import Description
from backends.vision.files import dtype_on, memory_bytes
from backends.vision.pictures import most_pictures
from config.parameters import ClipParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.clip.engine import ClipEngine

__all__ = ["ClipBackend", "ClipItem"]


class ClipBackend(Backend[ClipItem]):
    """Raises ValueError for a folder that holds no CLIP model."""

    prepared_type = ClipItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, ClipParameters)

    def facts(self) -> ClipFacts:
        return read_facts(self.weights)

    def describe(self) -> Description:
        if not set(self.spec.tasks) <= {"classify", "embed"}:
            raise ValueError(f"{self.spec.name}: a CLIP model does 'classify' and 'embed' and nothing else")
        if self.parameters.label_template.count("{}") != 1:
            raise ValueError("label_template must hold '{}' once, where the label goes")
        facts = self.facts()
        return Description(
            tasks=[*self.spec.tasks],
            parameters=["prompt", "image"],
            context_length=facts.positions,
            dimensions=facts.dimensions,
            vocabulary_size=facts.vocabulary_size,
            memory_bytes=memory_bytes(self.weights, facts.vision, self.spec.device, self.parameters),
            licence=self.spec.licence or "",
            details={
                "architecture": "CLIPModel",
                "dtype": self.parameters.dtype,
                "pixels": f"{facts.preprocessing.width}x{facts.preprocessing.height}",
            },
            device_kinds=["cuda", "cpu"],
            limits={"images": most_pictures(facts.preprocessing), "labels": self.parameters.max_labels},
        )

    def preparer(self) -> ClipPreparer:
        return ClipPreparer(self.weights, self.facts(), self.parameters)

    def load(self, device: str) -> "ClipEngine":
        from backends.clip.engine import ClipEngine

        return ClipEngine.load(
            self.weights, self.facts(), self.parameters, device, dtype_on(device, self.parameters)
        )
