"""One picture on its way from noise to the end, with all that is its own: it can share a step with any other.

A scheduler keeps what it needs of earlier steps, and a generator is drawn from step by step: each picture has
its own of both, and so it comes out the same in whatever company.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from msgspec import Struct
from PIL import Image

from backends.diffusion.item import PaintItem
from backends.protocol import Job, PaintResult, Timings


class Read(Struct, frozen=True):
    """A prompt as the network takes it, [1, …]."""

    states: torch.Tensor
    pooled: torch.Tensor | None = None
    """Of SDXL."""


class Kept(Struct, frozen=True):
    """The part of a picture that an edit leaves alone, in latents [1, …]."""

    mask: torch.Tensor
    """1 where it is painted anew."""
    noise: torch.Tensor
    latents: torch.Tensor


class Canvas(Struct):
    """How a picture stands."""

    scheduler: Any
    timesteps: torch.Tensor
    generator: torch.Generator
    options: dict[str, Any]
    """What this kind of scheduler takes at each step, the generator among it."""
    latents: torch.Tensor
    prompt: Read
    negative: Read | None
    """None: without guidance."""
    kept: Kept | None = None
    position: int = 0
    foreseen: torch.Tensor | None = None
    """What the latents would be at the end, by the last step; None where the scheduler does not say."""

    @property
    def seen(self) -> torch.Tensor:
        """What can be shown of it now."""
        return self.latents if self.foreseen is None else self.foreseen


class Row:
    """Picture `index` of a job."""

    def __init__(self, job: Job, index: int, item: PaintItem) -> None:
        self.job = job
        self.index = index
        self.item = item
        self.seed = item.seed + index % job.answers
        self.canvas: Canvas | None = None
        self.previews: Sequence[int] = ()
        """Positions after which a preview goes out, those that are still to come."""
        self.previewed = 0
        self.last_turn = 0
        self._added_at = time.monotonic()
        self._began_at = 0.0
        self._painting_at = 0.0

    @property
    def group(self) -> tuple[int, int]:
        return self.item.width, self.item.height

    @property
    def steps_left(self) -> int:
        return self.steps - self._canvas.position

    @property
    def cost(self) -> float:
        """Megapixels through the network."""
        passes = 1 if self._canvas.negative is None else 2
        return passes * self.item.width * self.item.height / 1e6

    @property
    def steps(self) -> int:
        """Calls of the network, which some schedulers make more of than they are asked for."""
        return len(self._canvas.timesteps)

    @property
    def is_done(self) -> bool:
        return self.steps_left == 0

    def begin(self) -> None:
        self._began_at = time.monotonic()

    def put(self, canvas: Canvas, previews: Sequence[int], turn: int) -> None:
        self.canvas, self.previews, self.last_turn = canvas, previews, turn
        self._painting_at = time.monotonic()

    def takes_preview(self) -> bool:
        """Whether one is due; it counts as taken."""
        if not self.previews or self.previews[0] != self._canvas.position:
            return False
        self.previews = self.previews[1:]
        self.previewed += 1
        return True

    def overlaid(self, painted: Image.Image) -> Image.Image:
        """What the edit leaves alone comes from the picture itself: latents do not keep it to the pixel."""
        if not self.item.mask:
            return painted
        original = Image.frombytes("RGB", painted.size, self.item.picture)
        return Image.composite(painted, original, Image.frombytes("L", painted.size, self.item.mask))

    def result(self) -> PaintResult:
        item = self.item
        return PaintResult(item.width, item.height, self.steps, self.seed, item.prompt_tokens)

    def timings(self) -> Timings:
        return Timings(
            queue_s=self._began_at - self._added_at,
            prefill_s=self._painting_at - self._began_at,
            decode_s=time.monotonic() - self._painting_at,
        )

    @property
    def _canvas(self) -> Canvas:
        assert self.canvas is not None
        return self.canvas
