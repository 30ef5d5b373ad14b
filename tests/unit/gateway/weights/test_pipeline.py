"""Which files of a pipeline are fetched: the repositories are listed as the hub has them."""

import pytest

from gateway.weights.errors import PullFailed
from gateway.weights.pipeline import choose, parts

INDEX = b"""{
  "_class_name": "StableDiffusionXLPipeline", "_diffusers_version": "0.24.0.dev0",
  "feature_extractor": [null, null], "force_zeros_for_empty_prompt": true, "image_encoder": [null, null],
  "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
  "scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"],
  "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
  "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]
}"""
TURBO = [
    *(".gitattributes", "LICENSE.md", "README.md", "model_index.json", "output_tile.jpg"),
    *("sd_xl_turbo_1.0.safetensors", "sd_xl_turbo_1.0_fp16.safetensors"),
    "scheduler/scheduler_config.json",
    *("text_encoder/config.json", "text_encoder/model.fp16.safetensors", "text_encoder/model.onnx"),
    *("text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
    *("tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/vocab.json"),
    *("unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"),
    *("unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.safetensors"),
    *("unet/model.onnx", "unet/openvino/config.json", "unet/openvino_model.bin"),
    *("vae/config.json", "vae/diffusion_pytorch_model.safetensors", "vae_decoder/config.json"),
    *("safety_checker/config.json", "safety_checker/model.safetensors"),
]
PARTS = ["scheduler", "text_encoder", "tokenizer", "unet", "vae"]


def test_the_parts_that_are_loaded() -> None:
    assert parts(INDEX) == PARTS


@pytest.mark.parametrize("index", [b"", b"[]", b"{", b'{"a": nonsense}'])
def test_an_index_that_makes_no_sense(index: bytes) -> None:
    with pytest.raises(PullFailed, match="makes no sense"):
        parts(index)


def test_each_part_once_in_16_bits_where_there_are_such() -> None:
    chosen = choose(TURBO, "", PARTS)
    weights = [name for name in chosen if name.endswith(".safetensors")]
    assert weights == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert chosen[: len(weights)] == weights
    assert set(chosen) - set(weights) == {
        *("model_index.json", "README.md", "LICENSE.md", "scheduler/scheduler_config.json"),
        *("text_encoder/config.json", "unet/config.json", "vae/config.json"),
        *("tokenizer/merges.txt", "tokenizer/special_tokens_map.json", "tokenizer/vocab.json"),
    }


def test_shards_come_with_their_own_list() -> None:
    files = [
        "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.json",
    ]
    assert choose(files, "", ["unet"]) == files
    halves = [
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
    ]
    assert choose([*files, *halves], "", ["unet"]) == halves


def test_a_pipeline_in_a_folder() -> None:
    files = ["unet/model.safetensors", "a/model_index.json", "a/unet/model.safetensors"]
    assert choose(files, "a/", ["unet"]) == ["a/unet/model.safetensors", "a/model_index.json"]


def test_pickled_weights_are_not_fetched_in_their_stead() -> None:
    with pytest.raises(PullFailed, match="unet/ has no safetensors files, only pickled"):
        choose(["unet/config.json", "unet/diffusion_pytorch_model.bin"], "", ["unet"])
