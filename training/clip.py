"""Trains `shapes-clip`: python -m training.clip

A CLIP of transformers' own class, small enough for one core: drawings and captions as vectors of one space.
Its eyes begin as those of the captioner beside it, which is trained first.
"""

import math
import random
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from training.eyes import Eyes
from training.folder import STARTER, save
from training.inherit import inherit
from training.loop import Plan, arguments, train
from training.pictures import MEAN, PATCH, SIZE, STD, drawings
from training.texts import Texts
from training.words import CLIP_BEGIN, CLIP_END, clip_tokenizer
from training.world import caption, some_scene

STEPS = 6_000
BATCH = 48
_WIDTH = 64
_POSITIONS = 32
_TOWER: dict[str, Any] = {"hidden_size": _WIDTH, "intermediate_size": 3 * _WIDTH, "num_attention_heads": 4}
_DOUBLE = 4
"""One scene of so many has two things."""
_HIGHEST_SCALE = math.log(100)
"""As OpenAI trained CLIP."""


def main() -> None:
    asked = arguments("Train shapes-clip.", STEPS)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(1)
    folder = asked.out or STARTER / "shapes-clip"
    tokenizer = clip_tokenizer()
    model = CLIPModel(_config(tokenizer)).train()
    inherit(model.vision_model, folder.parent / "shapes-captioner")
    eyes = Eyes(model, _WIDTH)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters", flush=True)

    def loss_of(step: int) -> torch.Tensor:
        chance = random.Random(f"clip {step}")
        scenes = [some_scene(chance, held_out=False, things=1 + (row % _DOUBLE == 0)) for row in range(BATCH)]
        seen = drawings(scenes, chance)
        texts = Texts(scenes, chance)
        words = tokenizer(list(map(caption, texts.said)), padding=True, return_tensors="pt")
        model.logit_scale.data.clamp_(max=_HIGHEST_SCALE)
        told = model(pixel_values=seen.pixels, **words)
        states = told.vision_model_output.last_hidden_state
        return texts.loss(told.logits_per_image) + eyes.loss(states, scenes, seen)

    train(eyes.network, Plan(asked.steps, 1.5e-3), loss_of, asked.checkpoint)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
        image_mean=MEAN,
        image_std=STD,
        resample=3,
    )
    save(model, tokenizer, images, folder)


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
    vision = {"image_size": SIZE, "patch_size": PATCH, "num_hidden_layers": 3, "hidden_act": "gelu"}
    return CLIPConfig(text_config=_TOWER | text, vision_config=_TOWER | vision, projection_dim=_WIDTH)


if __name__ == "__main__":
    main()
