"""Trains `shapes-clip`: python -m training.clip

A CLIP of transformers' own class, small enough for one core: drawings and captions as vectors of one space.
"""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from training.contrast import contrast
from training.eyes import Eyes
from training.folder import STARTER, save
from training.loop import Plan, arguments, train
from training.pictures import MEAN, PATCH, SIZE, STD, drawings
from training.starting import Tower, look_around
from training.words import CLIP_BEGIN, CLIP_END, clip_tokenizer
from training.world import Scene, caption, facts, leave_out, other_scenes, some_scene

STEPS = 4_000
BATCH = 48
_WIDTH = 64
_POSITIONS = 32
_TOWER: dict[str, Any] = {"hidden_size": _WIDTH, "intermediate_size": 3 * _WIDTH, "num_attention_heads": 4}
_SHORTER = 4
"""One text of so many says less than there is to say."""
_WRONG = 2
"""Texts beside each right one that say one thing otherwise."""


def main() -> None:
    asked = arguments("Train shapes-clip.", STEPS)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(1)
    tokenizer = clip_tokenizer()
    model = CLIPModel(_config(tokenizer)).train()
    look_around(_tower(model.vision_model))
    eyes = Eyes(model, _WIDTH)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)

    def loss_of(step: int) -> torch.Tensor:
        chance = random.Random(f"clip {step}")
        scenes = [some_scene(chance, held_out=False, things=1 + row % 2) for row in range(BATCH)]
        said = [
            leave_out(scene, chance) if row % _SHORTER == 0 else scene for row, scene in enumerate(scenes)
        ]
        texts = list(dict.fromkeys([*said, *(one for right in said for one in _otherwise(right, chance))]))
        seen = drawings(scenes, chance)
        words = tokenizer(list(map(caption, texts)), padding=True, return_tensors="pt")
        told = model(pixel_values=seen.pixels, **words)
        own = torch.tensor([texts.index(one) for one in said])
        states = told.vision_model_output.last_hidden_state
        return contrast(told.logits_per_image, own, _truth(scenes, texts)) + eyes.loss(states, scenes, seen)

    train(eyes.network, Plan(asked.steps, 1.5e-3), loss_of, asked.checkpoint)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=MEAN,
        image_std=STD,
        resample=3,
    )
    save(model, tokenizer, images, asked.out or Path(STARTER, "shapes-clip"))


def _truth(scenes: list[Scene], texts: list[Scene]) -> torch.Tensor:
    """[scenes, texts]: whether all holds that the text says."""
    seen_facts, said_facts = np.array(list(map(facts, scenes))), np.array(list(map(facts, texts)))
    holds = (said_facts[None] == "") | (said_facts[None] == seen_facts[:, None])
    return torch.from_numpy(holds.all(axis=2))


def _otherwise(scene: Scene, chance: random.Random) -> list[Scene]:
    return chance.sample([other for other in other_scenes(scene) if other != scene], _WRONG)


def _config(tokenizer: Any) -> CLIPConfig:
    begin, end = (tokenizer.convert_tokens_to_ids(token) for token in (CLIP_BEGIN, CLIP_END))
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": _POSITIONS,
        "num_hidden_layers": 2,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    vision = {"image_size": SIZE, "patch_size": PATCH, "num_hidden_layers": 3}
    return CLIPConfig(text_config=_TOWER | text, vision_config=_TOWER | vision, projection_dim=_WIDTH)


def _tower(vision: Any) -> Tower:
    heads = [layer.self_attn for layer in vision.encoder.layers]
    return Tower(
        vision.embeddings.position_embedding.weight.data,
        vision.embeddings.patch_embedding.weight.data,
        [(head.q_proj.weight.data, head.k_proj.weight.data) for head in heads],
    )


if __name__ == "__main__":
    main()
