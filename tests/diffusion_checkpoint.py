"""Writes diffusion pipelines of random weights by the libraries' own classes: the formats are the real ones.

What they paint is noise, but it goes the way that real pictures go. As a program, for benchmarks:

    python -m tests.diffusion_checkpoint FOLDER [--width 32] [--pixels 64]
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SCHEDULERS: dict[str, Any] = {
    kind.__name__.removesuffix("Scheduler").removesuffix("Discrete"): kind
    for kind in (
        *(DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler),
        *(EulerDiscreteScheduler, HeunDiscreteScheduler, LCMScheduler, PNDMScheduler),
    )
}
TEXT_WIDTH = 32
TEXT_TOKENS = 77
_TIME_WIDTH = 8
_BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def write_sdxl(
    folder: Path,
    *,
    width: int = 32,
    pixels: int = 64,
    scheduler: str = "EulerAncestral",
    variant: str | None = None,
    **settings: Any,
) -> Path:
    """A pipeline in the shape of SDXL. `settings` are the scheduler's; `variant` as in file names."""
    torch.manual_seed(7)
    pipeline = StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text()).eval(),
        text_encoder_2=CLIPTextModelWithProjection(_text()).eval(),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(pad_token="!"),
        unet=_unet(width, pixels, 2 * TEXT_WIDTH, _SDXL),
        scheduler=SCHEDULERS[scheduler](**_BETAS, **settings),
        add_watermarker=False,
    )
    _save(pipeline, folder, variant)
    return folder


def write_sd15(folder: Path, *, scheduler: str = "PNDM", **settings: Any) -> Path:
    """A pipeline in the shape of Stable Diffusion 1.5."""
    torch.manual_seed(7)
    pipeline = StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(_text()).eval(),
        tokenizer=_tokenizer(),
        unet=_unet(32, 64, TEXT_WIDTH, {}),
        scheduler=SCHEDULERS[scheduler](**_BETAS, skip_prk_steps=True, steps_offset=1, **settings)
        if scheduler == "PNDM"
        else SCHEDULERS[scheduler](**_BETAS, **settings),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    _save(pipeline, folder, None)
    return folder


_SDXL: dict[str, Any] = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": _TIME_WIDTH,
    "projection_class_embeddings_input_dim": 6 * _TIME_WIDTH + TEXT_WIDTH,
}


def _unet(width: int, pixels: int, text_width: int, more: dict[str, Any]) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=pixels // 8,
        block_out_channels=(width, 2 * width),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        cross_attention_dim=text_width,
        norm_num_groups=8,
        **more,
    ).eval()


def _vae() -> AutoencoderKL:
    """Eight pixels a latent, as the real ones have it."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=8,
        scaling_factor=0.13025,
        force_upcast=True,
    ).eval()


def _text() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TEXT_TOKENS,
        projection_dim=TEXT_WIDTH,
        bos_token_id=_vocabulary()["<|startoftext|>"],
        eos_token_id=_vocabulary()["<|endoftext|>"],
    )


def _vocabulary() -> dict[str, int]:
    letters = [
        f"{letter}{end}" for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    ]
    return {piece: index for index, piece in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}


def _tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    return CLIPTokenizer(vocab=_vocabulary(), merges=[], pad_token=pad_token, model_max_length=TEXT_TOKENS)


def _save(pipeline: Any, folder: Path, variant: str | None) -> None:
    if variant == "fp16":
        pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True, variant=variant)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=32, help="channels of the denoiser's first level")
    parser.add_argument("--pixels", type=int, default=64, help="width and height of what it paints")
    parser.add_argument("--scheduler", choices=list(SCHEDULERS), default="EulerAncestral")
    arguments = parser.parse_args()
    write_sdxl(
        arguments.folder, width=arguments.width, pixels=arguments.pixels, scheduler=arguments.scheduler
    )


if __name__ == "__main__":
    main()
