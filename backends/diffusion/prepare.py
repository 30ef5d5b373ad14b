"""From a paint or edit job to what the engine paints: prompt, size, steps, and pictures decoded.

Owns the checks of what this model can honour. Must not import torch, transformers or diffusers: the prepare
helper starts often and has to be quick.
"""

import secrets

from PIL import Image

from backends.base import JobError, Preparer
from backends.diffusion.abilities import MOST_PICTURES, MOST_PREVIEWS, Abilities
from backends.diffusion.folder import PipelineFacts
from backends.diffusion.item import PaintItem
from backends.diffusion.prompt import PromptReader
from backends.diffusion.sizes import Size, named, nearest
from backends.diffusion.steps import StepPlan, plan
from backends.media.image import ImageLimits, check_mask, read_image, read_mask
from backends.protocol import MAX_FRAME_BYTES, Job, Media, PaintParameters, Text
from config.parameters import DiffusionParameters

_MOST_SEEDS = 2**63
_DRAWN_SEEDS = 2**31
"""One that a client may type in again."""
_MOST_GUIDANCE = 100.0
_WITHOUT_GUIDANCE = 1.0
"""Up to here there is none."""
_LEAST_STRENGTH = 0.01


class PaintPreparer(Preparer[PaintItem]):
    def __init__(
        self, reader: PromptReader, facts: PipelineFacts, can: Abilities, parameters: DiffusionParameters
    ) -> None:
        self._reader = reader
        self._facts = facts
        self._can = can
        self._parameters = parameters

    def prepare(self, job: Job) -> list[PaintItem]:
        asked = job.parameters
        assert isinstance(asked, PaintParameters)
        _check(job, asked)
        steps, strength = self._steps(asked)
        guidance = self._guidance(asked)
        tokens = [self._read(item.text, "prompt") for item in job.items if isinstance(item, Text)]
        if len(tokens) < len(job.items):
            raise JobError("only a text can be painted", param="prompt")
        if asked.negative_prompt:
            self._read(asked.negative_prompt, "negative_prompt")
        size, picture, mask = self._pictures(asked, len(job.items))
        return [
            PaintItem(
                prompt=item.text,
                negative_prompt=asked.negative_prompt,
                prompt_tokens=count,
                width=size[0],
                height=size[1],
                steps=steps.asked,
                guidance=guidance,
                seed=secrets.randbelow(_DRAWN_SEEDS) if asked.seed is None else asked.seed,
                strength=strength,
                format=asked.format,
                compression=-1 if asked.compression is None else asked.compression,
                previews=asked.previews,
                picture=picture,
                mask=mask,
            )
            for item, count in zip(job.items, tokens, strict=True)
            if isinstance(item, Text)
        ]

    def _read(self, text: str, param: str) -> int:
        count = self._reader.count(text)
        if count > self._reader.most:
            raise JobError(
                f"`{param}` has {count} tokens; this model reads {self._reader.most}.",
                param=param,
                code="context_length_exceeded",
            )
        return count

    def _steps(self, asked: PaintParameters) -> tuple[StepPlan, float]:
        most = self._can.most_steps
        steps = asked.steps or (self._can.quality[asked.quality] if asked.quality else self._can.steps)
        if asked.steps is not None and not 1 <= asked.steps <= most:
            raise JobError(f"`steps` goes from 1 to {most} with this model.", param="steps")
        strength = self._strength(asked)
        planned = plan(steps, strength)
        if planned.asked > most:
            raise JobError(
                f"A `strength` of {strength:g} takes {planned.asked} steps; this model has at most {most}.",
                param="strength",
            )
        if asked.previews > min(planned.done - 1, MOST_PREVIEWS):
            raise JobError(
                f"A picture in {planned.done} step{'s'[: planned.done != 1]} has at most "
                f"{min(planned.done - 1, MOST_PREVIEWS)} partial images, got {asked.previews}.",
                param="partial_images",
            )
        return planned, strength

    def _strength(self, asked: PaintParameters) -> float:
        if not asked.images:
            return 1.0
        if asked.strength is None:
            return 1.0 if asked.mask else self._can.strength
        if not _LEAST_STRENGTH <= asked.strength <= 1:
            raise JobError(f"`strength` goes from {_LEAST_STRENGTH:g} to 1.", param="strength")
        return asked.strength

    def _guidance(self, asked: PaintParameters) -> float:
        guidance = self._can.guidance if asked.guidance is None else asked.guidance
        if not 0 <= guidance <= _MOST_GUIDANCE:
            raise JobError(f"`guidance` goes from 0 to {_MOST_GUIDANCE:g}.", param="guidance")
        if asked.negative_prompt and self._facts.embeds_guidance:
            raise JobError("This model follows no `negative_prompt`.", param="negative_prompt")
        if asked.negative_prompt and guidance <= _WITHOUT_GUIDANCE:
            raise JobError(
                f"A `negative_prompt` needs a `guidance` above {_WITHOUT_GUIDANCE:g}; it is {guidance:g}.",
                param="negative_prompt",
            )
        return guidance

    def _pictures(self, asked: PaintParameters, items: int) -> tuple[Size, bytes, bytes]:
        """The size to paint, and in it the picture to be edited and the mask, where there are any."""
        wanted = self._size(asked)
        if not asked.images:
            return wanted or self._can.sizes[0], b"", b""
        image = read_image(asked.images[0].blob, self._limits(asked.images[0], "image"))
        size = wanted or nearest(self._can.sizes, image.size)
        picture = image.resize(size, Image.Resampling.LANCZOS).tobytes()
        mask = b""
        if asked.mask is not None:
            limits = self._limits(asked.mask, "mask")
            holes = read_mask(asked.mask.blob, limits)
            check_mask(holes, image, limits.param)
            mask = holes.resize(size).tobytes()
        if items * (len(picture) + len(mask)) > MAX_FRAME_BYTES * 3 // 4:
            raise JobError(f"{items} edits of {named(size)} are too much for one request.", param="prompt")
        return size, picture, mask

    def _size(self, asked: PaintParameters) -> Size | None:
        size = (asked.width, asked.height)
        if size == (0, 0):
            return None
        if size not in self._can.sizes:
            raise JobError(
                f"This model does not paint {named(size)}; it paints: {', '.join(self._can.size_names)}.",
                param="size",
            )
        return size

    def _limits(self, media: Media, param: str) -> ImageLimits:
        return ImageLimits(self._parameters.max_pixels, self._parameters.max_frames, media.param or param)


def _check(job: Job, asked: PaintParameters) -> None:
    """What no model of this backend does."""
    if not 1 <= asked.n <= MOST_PICTURES:
        raise JobError(f"`n` goes from 1 to {MOST_PICTURES}.", param="n")
    if job.task == "edit" and not asked.images:
        raise JobError("An edit needs a picture.", param="image")
    if len(asked.images) > 1:
        raise JobError(f"This model edits one picture at a time, got {len(asked.images)}.", param="image")
    if job.task == "paint" and (asked.images or asked.mask or asked.strength is not None):
        raise JobError("Only an edit begins with a picture.", param="image")
    if asked.background == "transparent":
        raise JobError("This model paints no transparent background.", param="background")
    if asked.compression is not None and asked.format == "png":
        raise JobError("Only jpeg and webp have an `output_compression`.", param="output_compression")
    if asked.compression is not None and not 0 <= asked.compression <= 100:
        raise JobError("`output_compression` goes from 0 to 100.", param="output_compression")
    if asked.seed is not None and not 0 <= asked.seed < _MOST_SEEDS - MOST_PICTURES:
        raise JobError("`seed` goes from 0 to below 2^63.", param="seed")
