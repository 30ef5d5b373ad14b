"""What there is to know of a folder in diffusers' layout, read without loading any weights.

Owns the refusal of what must not be loaded: a part of a class that is not on the list here, or pickled
weights. Must not import torch, transformers or diffusers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from backends.model_folder import count_weights, read_json
from config.weight_names import INDEX, NEVER_LOADED, forms

T = TypeVar("T")

PIPELINES = {
    "StableDiffusionXLPipeline": "xl",
    "StableDiffusionXLImg2ImgPipeline": "xl",
    "StableDiffusionXLInpaintPipeline": "xl",
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionInpaintPipeline": "sd",
}
"""Pipelines that can be painted with, and their kind."""
SCHEDULERS = (
    *("DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler"),
    *("DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler"),
    *("HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler"),
    *("LCMScheduler", "PNDMScheduler", "TCDScheduler", "UniPCMultistepScheduler"),
)
"""Those that need no further library and draw their noise from the generator that they are given."""
CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "scheduler": SCHEDULERS,
}
"""What a pipeline is made of. Nothing else of a folder is ever opened."""
NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
_NEEDED = {
    "sd": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    "xl": tuple(CLASSES),
}
_FEW_STEPS = ("LCMScheduler", "TCDScheduler")
_LATENT_CHANNELS = 4


class _Unet(Struct):
    """A file leaves out what is as diffusers has it."""

    in_channels: int = 4
    sample_size: int | list[int] | None = None
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    time_cond_proj_dim: int | None = None


class _Vae(Struct):
    block_out_channels: tuple[int, ...] = (64,)
    latent_channels: int = 4
    force_upcast: bool | None = True


class _Scheduler(Struct):
    num_train_timesteps: int = 1000
    timestep_spacing: str = ""
    rescale_betas_zero_snr: bool = False
    skip_prk_steps: bool = False


class _Text(Struct):
    max_position_embeddings: int = 77


class PipelineFacts(Struct, frozen=True):
    kind: str
    """xl or sd: with two text encoders, or with one."""
    scheduler: str
    few_steps: bool
    """Distilled to paint in one to four steps, without guidance."""
    embeds_guidance: bool
    """Guidance goes into the network as a number, at no further cost; there is no negative prompt."""
    trained_steps: int
    native: int
    """Width and height that it was trained on, pixels."""
    pixels_per_latent: int
    upcasts_vae: bool
    """The VAE overflows in float16."""
    unet_channels: int
    vae_channels: int
    """Of the widest rows of the first level."""
    tokens: int
    """Longest prompt, tokens, those around it counted."""
    zero_negative: bool
    """An empty negative prompt is zeros and not an encoded empty text."""
    numbers: dict[str, int]
    """Weights of each network."""


def read_facts(folder: Path) -> PipelineFacts:
    """Raises ValueError naming the file and what is wrong with it."""
    index = _index(folder)
    kind = PIPELINES.get(str(index.get("_class_name")))
    if kind is None:
        raise ValueError(f"{folder / INDEX}: {index.get('_class_name')} is not supported, only {_names()}")
    if index.get("requires_aesthetics_score"):
        raise ValueError(f"{folder / INDEX}: a refiner paints nothing by itself")
    parts = dict(_parts(folder, index))
    if missing := [name for name in _NEEDED[kind] if name not in parts]:
        raise ValueError(f"{folder / INDEX}: a {index['_class_name']} without {missing[0]} is not supported")
    return _facts(folder, kind, parts, bool(index.get("force_zeros_for_empty_prompt", kind == "xl")))


def _facts(folder: Path, kind: str, parts: dict[str, str], zero_negative: bool) -> PipelineFacts:
    unet = _config(folder / "unet" / "config.json", _Unet)
    vae = _config(folder / "vae" / "config.json", _Vae)
    scheduler = _config(folder / "scheduler" / "scheduler_config.json", _Scheduler)
    text = _config(folder / "text_encoder" / "config.json", _Text)
    if unet.in_channels != _LATENT_CHANNELS or vae.latent_channels != _LATENT_CHANNELS:
        raise ValueError(f"{folder}: only networks of {_LATENT_CHANNELS} latent channels are supported")
    if parts["scheduler"] == "PNDMScheduler" and not scheduler.skip_prk_steps:
        raise ValueError(f"{folder / 'scheduler'}: PNDM is supported with skip_prk_steps only")
    if not isinstance(unet.sample_size, int):
        raise ValueError(f"{folder / 'unet' / 'config.json'}: sample_size must be one number")
    scale = 2 ** (len(vae.block_out_channels) - 1)
    return PipelineFacts(
        kind=kind,
        scheduler=parts["scheduler"],
        few_steps=_is_distilled(parts["scheduler"], scheduler),
        embeds_guidance=unet.time_cond_proj_dim is not None,
        trained_steps=scheduler.num_train_timesteps,
        native=unet.sample_size * scale,
        pixels_per_latent=scale,
        upcasts_vae=vae.force_upcast is not False,
        unet_channels=unet.block_out_channels[0],
        vae_channels=vae.block_out_channels[0],
        tokens=text.max_position_embeddings,
        zero_negative=zero_negative,
        numbers={name: _count(folder / name) for name in NETWORKS if name in parts},
    )


def variant(part: Path, *, half: bool) -> str | None:
    """Which weights of a part to load, as the libraries call it: `fp16` or None, the plain ones.

    `half`: those of 16 bits are to be had where both are there.
    """
    plain, halves = forms(path.name for path in part.iterdir())
    return "fp16" if halves and (half or not plain) else None


def _count(part: Path) -> int:
    """The numbers of a network, counted once where it is there in two forms."""
    plain, halves = forms(path.name for path in part.iterdir()) if part.is_dir() else ([], [])
    if not (plain or halves):
        raise ValueError(f"{part} holds no safetensors weights")
    return sum(count_weights(part / name) for name in halves or plain)


def _index(folder: Path) -> dict[str, Any]:
    index = read_json(folder / INDEX, dict[str, Any])
    if index is None:
        raise ValueError(f"{folder} holds no {INDEX}: it is no diffusers pipeline folder")
    return index


def _parts(folder: Path, index: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and class of what the pipeline is made of. Raises ValueError for what is not on the list."""
    for name, value in index.items():
        if not isinstance(value, list) or name in NEVER_LOADED or value == [None, None]:
            continue
        library, kind = value if len(value) == 2 else (None, None)
        expected = "transformers" if name.startswith(("text_", "token")) else "diffusers"
        if library != expected or kind not in CLASSES.get(name, ()):
            raise ValueError(f"{folder / INDEX}: {name} is {library}.{kind}, which is not supported")
        yield name, str(kind)


def _is_distilled(name: str, scheduler: _Scheduler) -> bool:
    """Turbo models take their few steps from the noisy end; those of zero terminal SNR do too, and say so."""
    trailing = scheduler.timestep_spacing == "trailing" and not scheduler.rescale_betas_zero_snr
    return name in _FEW_STEPS or (name.startswith("Euler") and trailing)


def _config(path: Path, kind: type[T]) -> T:
    """By Python's own decoder: diffusers writes infinities into some, which JSON does not have."""
    try:
        return msgspec.convert(json.loads(path.read_bytes()), kind)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def _names() -> str:
    return " and ".join(name for name in PIPELINES if "2" not in name and "paint" not in name)
