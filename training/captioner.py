"""Trains `shapes-captioner`: python -m training.captioner

A BLIP captioner of transformers' own class, small enough for one core, that says what a drawing shows.
"""

import random
from pathlib import Path
from typing import Any

import torch
from transformers import BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from training.eyes import Eyes
from training.folder import STARTER, save
from training.loop import Plan, arguments, train
from training.pictures import MEAN, PATCH, SIZE, STD, drawings
from training.starting import Tower, look_around
from training.words import blip_tokenizer
from training.world import caption, some_scene

STEPS = 20_000
BATCH = 32
_WIDTH = 64
_POSITIONS = 32
_TOWER: dict[str, Any] = {"hidden_size": _WIDTH, "intermediate_size": 3 * _WIDTH, "num_attention_heads": 4}
_SINGLE = 4
"""One scene of so many has a single thing."""
_IGNORED = -100
"""Label of a token that nothing is learnt from, as transformers has it."""


def main() -> None:
    asked = arguments("Train shapes-captioner.", STEPS)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(1)
    tokenizer = blip_tokenizer()
    model = BlipForConditionalGeneration(_config(tokenizer)).train()
    look_around(_tower(model.vision_model))
    eyes = Eyes(model, _WIDTH)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)

    def loss_of(step: int) -> torch.Tensor:
        chance = random.Random(f"captioner {step}")
        scenes = [some_scene(chance, held_out=False, things=1 + (row % _SINGLE > 0)) for row in range(BATCH)]
        ids = _ids(tokenizer, [caption(scene) for scene in scenes])
        seen = drawings(scenes, chance)
        told = model(
            pixel_values=seen.pixels,
            input_ids=ids,
            attention_mask=(ids != tokenizer.pad_token_id).long(),
            labels=ids.masked_fill(ids == tokenizer.pad_token_id, _IGNORED),
        )
        loss: torch.Tensor = told.loss + eyes.loss(told.image_embeds, scenes, seen)
        return loss

    train(eyes.network, Plan(asked.steps, 1.5e-3), loss_of, asked.checkpoint)
    images = BlipImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD, resample=3
    )
    save(model, tokenizer, images, asked.out or Path(STARTER, "shapes-captioner"))


def _config(tokenizer: Any) -> BlipConfig:
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": _POSITIONS,
        "encoder_hidden_size": _WIDTH,
        "num_hidden_layers": 2,
        "label_smoothing": 0.0,
        "initializer_range": 0.05,
        "bos_token_id": tokenizer.convert_tokens_to_ids("[DEC]"),
        "eos_token_id": tokenizer.sep_token_id,
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {"image_size": SIZE, "patch_size": PATCH, "num_hidden_layers": 3, "initializer_range": 0.06}
    return BlipConfig(
        text_config=_TOWER | text,
        vision_config=_TOWER | vision,
        projection_dim=_WIDTH,
        image_text_hidden_size=_WIDTH,
    )


def _tower(vision: Any) -> Tower:
    mixed = [layer.self_attn.qkv.weight.data for layer in vision.encoder.layers]
    return Tower(
        vision.embeddings.position_embedding.data[0],
        vision.embeddings.patch_embedding.weight.data,
        [(weights[:_WIDTH], weights[_WIDTH : 2 * _WIDTH]) for weights in mixed],
    )


def _ids(tokenizer: Any, captions: list[str]) -> torch.Tensor:
    """Captions as BLIP's decoder writes them: the token that begins one stands first, [SEP] ends it."""
    ids: torch.Tensor = tokenizer(captions, padding=True, return_tensors="pt").input_ids
    ids[:, 0] = tokenizer.convert_tokens_to_ids("[DEC]")
    return ids


if __name__ == "__main__":
    main()
