"""CLIP's eyes begin as the captioner's: what both see of a picture is the same."""

from pathlib import Path

import pytest
import torch
from transformers import BlipConfig, BlipForConditionalGeneration, CLIPVisionConfig, CLIPVisionModel

from training.inherit import inherit

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
SEEN = {"image_size": 24, "patch_size": 6, "hidden_act": "gelu"}


def eyes() -> torch.nn.Module:
    return CLIPVisionModel(CLIPVisionConfig(**TOWER, **SEEN)).eval()


def test_both_see_the_same(tmp_path: Path) -> None:
    torch.manual_seed(3)
    blip = BlipForConditionalGeneration(
        BlipConfig(text_config=TOWER | {"vocab_size": 20}, vision_config=TOWER | SEEN)
    ).eval()
    torch.nn.init.normal_(blip.vision_model.embeddings.patch_embedding.bias)
    blip.save_pretrained(tmp_path)
    clip = eyes()
    inherit(clip, tmp_path)
    clip.pre_layrnorm = torch.nn.Identity()
    picture = torch.rand(2, 3, 24, 24)
    with torch.no_grad():
        ours, theirs = clip(pixel_values=picture), blip.vision_model(pixel_values=picture)
    assert torch.allclose(ours.pooler_output, theirs.last_hidden_state[:, 0], atol=1e-5)


def test_without_a_captioner_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make train-captioner"):
        inherit(eyes(), tmp_path)
