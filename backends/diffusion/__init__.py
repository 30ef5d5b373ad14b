"""Pictures by diffusion: a text, or a text and a picture, in; pictures out, denoised step by step.

Owns the way from a folder in diffusers' layout to pictures. Only `load`, `painter`, `row` and `engine` may
import torch, transformers and diffusers, and they are imported by `DiffusionBackend.load` alone, so that
describing a model and preparing its jobs stay fast.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backends.base import Backend
from backends.diffusion.abilities import MOST_PICTURES, MOST_PREVIEWS, Abilities, abilities
from backends.diffusion.folder import PipelineFacts, read_facts
from backends.diffusion.item import PaintItem
from backends.diffusion.memory import batch_items, memory_bytes
from backends.diffusion.prepare import PaintPreparer
from backends.diffusion.prompt import PromptReader
from backends.protocol import Description
from backends.vision.files import dtype_on
from config.parameters import DiffusionParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.diffusion.engine import DiffusionEngine

__all__ = ["DiffusionBackend", "PaintItem"]

_PAINTING = ["n", "quality", "steps", "guidance", "negative_prompt", "seed", "partial_images"]
_EDITING = ["mask", "strength"]
_WARM_UP_PIXELS = 256
"""Edge of the picture that a CPU warms up with; a GPU, slow at first in each size, takes the default."""


class DiffusionBackend(Backend[PaintItem]):
    """Raises ValueError for a folder that holds no pipeline that can be painted with."""

    prepared_type = PaintItem

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, weights)
        self.parameters = msgspec.convert(spec.parameters, DiffusionParameters)

    def facts(self) -> PipelineFacts:
        return read_facts(self.weights)

    def describe(self) -> Description:
        if not set(self.spec.tasks) <= {"paint", "edit"}:
            raise ValueError(f"{self.spec.name}: a diffusion model does 'paint' and 'edit', nothing else")
        facts = self.facts()
        can = abilities(facts, self.parameters)
        honoured = [name for name in _PAINTING if name != "negative_prompt" or not facts.embeds_guidance]
        return Description(
            tasks=list(self.spec.tasks),
            parameters=honoured + (_EDITING if "edit" in self.spec.tasks else []),
            context_length=facts.tokens - 2,
            memory_bytes=memory_bytes(facts, can, self.parameters, self.spec.device),
            licence=self.spec.licence or "",
            details={
                "architecture": {"sd": "Stable Diffusion", "xl": "Stable Diffusion XL"}[facts.kind],
                "scheduler": facts.scheduler,
                "dtype": self.parameters.dtype,
                "steps": str(can.steps),
                "guidance": f"{can.guidance:g}",
            },
            device_kinds=["cuda", "cpu"],
            limits={
                "n": MOST_PICTURES,
                "images": 1,
                "steps": can.most_steps,
                "partial_images": min(MOST_PREVIEWS, can.most_steps - 1),
            },
            sizes=can.size_names,
        )

    def preparer(self) -> PaintPreparer:
        facts = self.facts()
        can = abilities(facts, self.parameters)
        return PaintPreparer(PromptReader(self.weights, facts.tokens), facts, can, self.parameters)

    def load(self, device: str) -> "DiffusionEngine":
        from backends.diffusion.engine import DiffusionEngine
        from backends.diffusion.load import load_pipelines
        from backends.diffusion.painter import Painter

        facts = self.facts()
        dtype = dtype_on(device, self.parameters)
        pipelines = load_pipelines(self.weights, facts, self.parameters, device, dtype)
        return DiffusionEngine(
            Painter(pipelines, facts, device),
            _sample(abilities(facts, self.parameters), device),
            batch_items=batch_items(device, self.parameters),
            max_step_s=self.parameters.max_step_s,
        )


def _sample(can: Abilities, device: str) -> PaintItem:
    most = _WARM_UP_PIXELS if device == "cpu" else max(can.sizes[0])
    width, height = (min(side, most) for side in can.sizes[0])
    return PaintItem("a", "", 1, width, height, can.steps, can.guidance, seed=0)
