"""CLIP's eyes begin as the captioner's: the vision tower of a trained BLIP, under the names that CLIP has.

Which shape a drawing shows is what either network takes longest to find. The towers are the same but that
BLIP's patches have a bias, which goes into the places here, and CLIP norms once more before its first layer.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

_PREFIX = "vision_model."
_OWN_NORM = "pre_layrnorm"
"""So it is spelt."""


def inherit(vision: Any, captioner: Path) -> None:
    """Changes the CLIP vision tower in place.

    `captioner`: a folder in transformers' layout. Errors: FileNotFoundError, where none was trained yet.
    """
    file = captioner / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there: train the captioner first (make train-captioner)")
    told = vision.load_state_dict(_renamed(load_file(file)), strict=False)
    if {name.split(".")[0] for name in told.missing_keys} != {_OWN_NORM} or told.unexpected_keys:
        raise ValueError(f"{file} has other eyes: {told}")


def _renamed(blip: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    weights = {
        name.removeprefix(_PREFIX): weight.float()
        for name, weight in blip.items()
        if name.startswith(_PREFIX)
    }
    places = weights.pop("embeddings.position_embedding")[0]
    places[1:] += weights.pop("embeddings.patch_embedding.bias")
    made = {
        "embeddings.position_embedding.weight": places,
        "embeddings.class_embedding": weights.pop("embeddings.class_embedding").flatten(),
    }
    for name, weight in weights.items():
        match name.split("self_attn.qkv."):
            case [layer, kind]:
                for part, third in zip(("q", "k", "v"), weight.chunk(3), strict=True):
                    made[f"{layer}self_attn.{part}_proj.{kind}"] = third
            case _:
                made[name.replace("self_attn.projection", "self_attn.out_proj")] = weight
    return made
