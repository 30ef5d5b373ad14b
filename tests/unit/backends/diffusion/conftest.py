"""A pipeline's folder of a few kilobytes: JSON files, a tokenizer of single letters, headers of weights."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

LETTERS = [f"{letter}{end}" for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz,'"]
VOCABULARY = {piece: index for index, piece in enumerate([*LETTERS, "<|startoftext|>", "<|endoftext|>"])}
INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.24.0",
    "feature_extractor": [None, None],
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
SD_INDEX = {name: value for name, value in INDEX.items() if not name.endswith("_2")} | {
    "_class_name": "StableDiffusionPipeline",
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "requires_safety_checker": True,
}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(content))


def write_weights(path: Path, numbers: int) -> None:
    """A header that announces so many numbers, and none of them."""
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}
    ).encode()
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """In the shape of sdxl-turbo."""
    write(tmp_path / "model_index.json", INDEX)
    write(tmp_path / "unet/config.json", {"sample_size": 64, "block_out_channels": [320, 640, 1280]})
    write(tmp_path / "vae/config.json", {"block_out_channels": [128, 256, 512, 512]})
    scheduler = {"timestep_spacing": "trailing", "num_train_timesteps": 1000, "skip_prk_steps": True}
    write(tmp_path / "scheduler/scheduler_config.json", scheduler)
    for name in ("text_encoder", "text_encoder_2"):
        write(tmp_path / name / "config.json", {"max_position_embeddings": 12})
        write_weights(tmp_path / name / "model.safetensors", 1000)
    for name in ("unet", "vae"):
        write_weights(tmp_path / name / "diffusion_pytorch_model.safetensors", 5000)
    for name in ("tokenizer", "tokenizer_2"):
        write(tmp_path / name / "vocab.json", VOCABULARY)
        (tmp_path / name / "merges.txt").write_text("#version: 0.2\n")
    return tmp_path


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    write(path, json.loads(path.read_text()) | values)
