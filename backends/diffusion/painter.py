"""The networks at work: reads prompts, begins pictures, takes steps, makes pixels of latents.

Owns everything that touches torch in painting. Knows no job and no turn.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from msgspec import Struct
from PIL import Image

from backends.diffusion.folder import PipelineFacts
from backends.diffusion.item import PaintItem
from backends.diffusion.load import Pipelines
from backends.diffusion.row import Canvas, Kept, Read
from backends.torch_model import NotFinite, out_of_memory

_KEPT_PROMPTS = 32
_WITHOUT_GUIDANCE = 1.0
"""Up to here there is none."""
_TOKENIZERS = ("tokenizer", "tokenizer_2")
_FORESEEN = ("pred_original_sample", "denoised")
"""How schedulers call the finished picture as a step foretells it."""


class Ready(Struct, frozen=True):
    """What the pictures of one item share."""

    prompt: Read
    negative: Read | None
    picture: Any = None
    """Distribution of the latents of what is edited; None: it begins as noise."""
    mask: torch.Tensor | None = None


@contextmanager
def _computing() -> Iterator[None]:
    with out_of_memory(), torch.inference_mode():
        yield


class Painter:
    def __init__(self, pipelines: Pipelines, facts: PipelineFacts, device: str) -> None:
        self._pipelines = pipelines
        self._pipe = pipelines.text
        self._facts = facts
        self._device = torch.device(device)
        self._scheduler = pipelines.text.scheduler
        self._dtype: torch.dtype = pipelines.text.unet.dtype
        self._read: OrderedDict[str, Read] = OrderedDict()

    # --- beginning ---------------------------------------------------------------------------------------

    def ready(self, item: PaintItem) -> Ready:
        """Read the prompts, and the picture to be edited. Raises OutOfMemory."""
        with _computing():
            guided = item.guidance > _WITHOUT_GUIDANCE and not self._facts.embeds_guidance
            prompt = self._reading(item.prompt)
            return Ready(
                prompt,
                self._negative(item.negative_prompt, prompt) if guided else None,
                self._encoded(item) if item.picture else None,
                self._mask(item) if item.mask else None,
            )

    def begin(self, item: PaintItem, ready: Ready, seed: int) -> Canvas:
        """A picture before its first step, from its seed alone. Raises OutOfMemory."""
        generator = torch.Generator().manual_seed(seed)  # on the CPU: the same on every device
        scheduler = copy.deepcopy(self._scheduler)
        scheduler.set_timesteps(item.steps, device=self._device)
        with _computing():
            if ready.picture is None:
                timesteps, latents, kept = self._from_noise(item, scheduler, generator)
            elif ready.mask is None:
                timesteps, latents, kept = self._from_picture(item, ready, scheduler, generator)
            else:
                timesteps, latents, kept = self._from_mask(item, ready, scheduler, generator)
        options = self._with(self._pipe, scheduler).prepare_extra_step_kwargs(generator, 0.0)
        return Canvas(scheduler, timesteps, generator, options, latents, ready.prompt, ready.negative, kept)

    def _from_noise(
        self, item: PaintItem, scheduler: Any, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, Kept | None]:
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        pipe = self._with(self._pipe, scheduler)
        latents = pipe.prepare_latents(1, *self._shape(item), self._dtype, self._device, generator)
        return scheduler.timesteps, latents, None

    def _from_picture(
        self, item: PaintItem, ready: Ready, scheduler: Any, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, Kept | None]:
        pipe = self._with(self._pipelines.picture, scheduler)
        timesteps, _ = pipe.get_timesteps(item.steps, item.strength, self._device)
        begun = self._drawn(ready.picture, generator)
        latents = pipe.prepare_latents(begun, timesteps[:1], 1, 1, self._dtype, self._device, generator)
        return timesteps, latents, None

    def _from_mask(
        self, item: PaintItem, ready: Ready, scheduler: Any, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, Kept | None]:
        pipe = self._with(self._pipelines.mask, scheduler)
        timesteps, _ = pipe.get_timesteps(item.steps, item.strength, self._device)
        latents, noise, original = pipe.prepare_latents(
            *(1, *self._shape(item), self._dtype, self._device, generator),
            image=self._drawn(ready.picture, generator),
            timestep=timesteps[:1],
            is_strength_max=item.strength == 1,
            return_noise=True,
            return_image_latents=True,
        )
        # What it makes of the picture itself is for networks that take more channels than latents have.
        mask, _ = pipe.prepare_mask_latents(
            *(ready.mask, original, 1, item.height, item.width, self._dtype, self._device, generator, False)
        )
        return timesteps, latents, Kept(mask, noise, original)

    @staticmethod
    def _with(pipe: Any, scheduler: Any) -> Any:
        """The pipeline, for a moment about this scheduler: its parts use the one that it has."""
        pipe.scheduler = scheduler
        return pipe

    def _shape(self, item: PaintItem) -> tuple[int, int, int]:
        return self._pipe.vae.config.latent_channels, item.height, item.width

    # --- prompts -----------------------------------------------------------------------------------------

    def _reading(self, text: str) -> Read:
        """Kept for a while: the same prompt comes again, and the empty negative one always does."""
        if text not in self._read:
            self._read[text] = self._encode(text)
            while len(self._read) > _KEPT_PROMPTS:
                self._read.popitem(last=False)
        self._read.move_to_end(text)
        return self._read[text]

    def _encode(self, text: str) -> Read:
        for name in _TOKENIZERS:
            if (tokenizer := getattr(self._pipe, name, None)) is not None:
                # A control token that a text spells out stays text. Not for all texts, for SDXL takes every
                # exclamation mark for the token that fills up, and knows it so from diffusers.
                marks = (tokenizer.bos_token, tokenizer.eos_token)
                tokenizer.split_special_tokens = any(mark in text for mark in marks)
        encoded = self._pipe.encode_prompt(
            text, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        states, pooled = encoded[0], encoded[2] if self._facts.kind == "xl" else None
        return Read(states, pooled)

    def _negative(self, text: str, prompt: Read) -> Read:
        if text or not self._facts.zero_negative:
            return self._reading(text)
        pooled = None if prompt.pooled is None else torch.zeros_like(prompt.pooled)
        return Read(torch.zeros_like(prompt.states), pooled)

    # --- pictures to be edited -----------------------------------------------------------------------------

    def _encoded(self, item: PaintItem) -> Any:
        picture = Image.frombytes("RGB", (item.width, item.height), item.picture)
        pixels = self._pipe.image_processor.preprocess(picture)
        return self._pipe.vae.encode(pixels.to(self._device, self._pipe.vae.dtype)).latent_dist

    def _mask(self, item: PaintItem) -> torch.Tensor:
        mask = Image.frombytes("L", (item.width, item.height), item.mask)
        made: torch.Tensor = self._pipelines.mask.mask_processor.preprocess(mask)
        return made

    def _drawn(self, distribution: Any, generator: torch.Generator) -> torch.Tensor:
        latents: torch.Tensor = distribution.sample(generator)
        mean, spread = self._statistics(latents)
        return ((latents - mean) * self._pipe.vae.config.scaling_factor / spread).to(self._dtype)

    def _statistics(self, latents: torch.Tensor) -> tuple[torch.Tensor | float, torch.Tensor | float]:
        """Of the latents that the network knows, where they are not only scaled."""
        config = self._pipe.vae.config
        mean, spread = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        if mean is None or spread is None:
            return 0.0, 1.0
        return latents.new_tensor(mean).view(1, -1, 1, 1), latents.new_tensor(spread).view(1, -1, 1, 1)

    # --- steps -------------------------------------------------------------------------------------------

    def predict(self, canvases: Sequence[Canvas], guidance: Sequence[float]) -> torch.Tensor:
        """The noise in each, whatever step it is at, [canvases, …]. None moves. Raises OutOfMemory."""
        with _computing():
            return self._noise(canvases, guidance)

    def advance(self, canvas: Canvas, noise: torch.Tensor) -> None:
        """One step on, by its noise [1, …]. Raises OutOfMemory; one that failed cannot go on."""
        with _computing():
            self._advance(canvas, noise)

    def _noise(self, canvases: Sequence[Canvas], guidance: Sequence[float]) -> torch.Tensor:
        """Rows with guidance go through the network a second time, behind all others."""
        times = [canvas.timesteps[canvas.position] for canvas in canvases]
        scaled = [
            canvas.scheduler.scale_model_input(canvas.latents, time)
            for canvas, time in zip(canvases, times, strict=True)
        ]
        guided = [place for place, canvas in enumerate(canvases) if canvas.negative is not None]
        texts = [canvas.prompt for canvas in canvases]
        texts += [canvas.negative for canvas in canvases if canvas.negative is not None]
        latents = torch.cat([*scaled, *(scaled[place] for place in guided)])
        noise: torch.Tensor = self._pipe.unet(
            latents,
            torch.stack([*times, *(times[place] for place in guided)]).to(self._device),
            encoder_hidden_states=torch.cat([text.states for text in texts]).to(self._dtype),
            return_dict=False,
            **self._conditions(texts, latents, guidance),
        )[0]
        wanted, unwanted = noise[: len(canvases)], noise[len(canvases) :]
        if not guided:
            return wanted
        strengths = noise.new_tensor([guidance[place] for place in guided]).view(-1, 1, 1, 1)
        mixed = wanted.clone()
        mixed[guided] = unwanted + strengths * (wanted[guided] - unwanted)
        return mixed

    def _conditions(
        self, texts: Sequence[Read], latents: torch.Tensor, guidance: Sequence[float]
    ) -> dict[str, Any]:
        """What SDXL is told of size and cropping, and what goes into networks that embed the guidance."""
        more: dict[str, Any] = {}
        pooled = [text.pooled for text in texts if text.pooled is not None]
        if pooled:
            height, width = (side * self._facts.pixels_per_latent for side in latents.shape[-2:])
            ids = latents.new_tensor([[height, width, 0, 0, height, width]]).repeat(len(texts), 1)
            more["added_cond_kwargs"] = {"text_embeds": torch.cat(pooled), "time_ids": ids}
        if self._facts.embeds_guidance:
            more["timestep_cond"] = self._pipe.get_guidance_scale_embedding(
                torch.tensor(guidance) - 1, embedding_dim=self._pipe.unet.config.time_cond_proj_dim
            ).to(self._device, self._dtype)
        return more

    @staticmethod
    def _advance(canvas: Canvas, noise: torch.Tensor) -> None:
        scheduler, time = canvas.scheduler, canvas.timesteps[canvas.position]
        moved = scheduler.step(noise, time, canvas.latents, **canvas.options)
        latents = moved.prev_sample
        canvas.position += 1
        if (kept := canvas.kept) is not None:
            original = kept.latents
            if canvas.position < len(canvas.timesteps):
                following = canvas.timesteps[canvas.position].reshape(1)
                original = scheduler.add_noise(original, kept.noise, following)
            latents = (1 - kept.mask) * original + kept.mask * latents
        canvas.latents = latents.to(canvas.latents.dtype)
        canvas.foreseen = next((getattr(moved, name) for name in _FORESEEN if hasattr(moved, name)), None)

    # --- pixels ------------------------------------------------------------------------------------------

    def pixels(self, latents: torch.Tensor) -> Image.Image:
        """The picture that [1, …] latents stand for. Raises OutOfMemory, NotFinite."""
        vae = self._pipe.vae
        with _computing():
            latents = latents.to(vae.dtype)
            mean, spread = self._statistics(latents)
            made = vae.decode(latents * spread / vae.config.scaling_factor + mean, return_dict=False)[0]
            if not torch.isfinite(made).all():
                raise NotFinite("the picture has numbers that are not finite")
            image: Image.Image = self._pipe.image_processor.postprocess(made, output_type="pil")[0]
        return image

    def free(self) -> None:
        """Give back what torch holds in reserve, after it ran out of memory."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
