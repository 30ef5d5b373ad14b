"""What a folder says of itself, and what of it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from backends.diffusion.folder import SCHEDULERS, read_facts, variant
from tests.unit.backends.diffusion.conftest import INDEX, SD_INDEX, change, write, write_weights


def test_a_turbo_model(folder: Path) -> None:
    facts = read_facts(folder)
    assert (facts.kind, facts.scheduler, facts.few_steps) == ("xl", "EulerAncestralDiscreteScheduler", True)
    assert (facts.native, facts.pixels_per_latent, facts.tokens) == (512, 8, 12)
    assert facts.numbers == {"unet": 5000, "vae": 5000, "text_encoder": 1000, "text_encoder_2": 1000}


def test_numbers_that_json_does_not_have(folder: Path) -> None:
    change(folder, "scheduler/scheduler_config.json", lambda_min_clipped=float("-inf"))
    assert read_facts(folder).few_steps


def test_a_damaged_file_is_named(folder: Path) -> None:
    (folder / "unet/config.json").write_text("{")
    with pytest.raises(ValueError, match=r"unet/config.json"):
        read_facts(folder)
    (folder / "unet/config.json").unlink()
    with pytest.raises(ValueError, match=r"unet/config.json is missing"):
        read_facts(folder)


def test_zero_terminal_snr_is_no_turbo_model(folder: Path) -> None:
    change(folder, "scheduler/scheduler_config.json", rescale_betas_zero_snr=True)
    assert not read_facts(folder).few_steps


def test_an_older_model_with_a_safety_checker(folder: Path) -> None:
    write(folder / "model_index.json", SD_INDEX)
    facts = read_facts(folder)
    assert (facts.kind, facts.few_steps, facts.zero_negative) == ("sd", False, True)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("unet", ["my_unet", "UNet2DConditionModel"]),
        ("unet", ["diffusers", "FluxTransformer2DModel"]),
        ("unet", ["transformers", "UNet2DConditionModel"]),
        ("text_encoder", ["transformers", "T5EncoderModel"]),
        ("scheduler", ["diffusers", "DPMSolverSDEScheduler"]),
        ("scheduler", ["pipeline", "EulerDiscreteScheduler"]),
        ("vae", ["diffusers", "AutoencoderKL", "more"]),
        ("vae", []),
        ("controlnet", ["diffusers", "ControlNetModel"]),
        ("transformer", ["diffusers", "SD3Transformer2DModel"]),
    ],
)
def test_only_known_classes_are_loaded(folder: Path, part: str, value: list[str]) -> None:
    change(folder, "model_index.json", **{part: value})
    with pytest.raises(ValueError, match=f"model_index.json: {part} is .* not supported"):
        read_facts(folder)


@pytest.mark.parametrize("part", ["unet", "text_encoder_2", "scheduler"])
def test_a_pipeline_that_lacks_a_part(folder: Path, part: str) -> None:
    change(folder, "model_index.json", **{part: [None, None]})
    with pytest.raises(ValueError, match=f"without {part}"):
        read_facts(folder)


@pytest.mark.parametrize(
    ("file", "values", "complaint"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "FluxPipeline is not supported, only Stable"),
        ("model_index.json", {"requires_aesthetics_score": True}, "refiner"),
        ("unet/config.json", {"in_channels": 9}, "4 latent channels"),
        ("vae/config.json", {"latent_channels": 16}, "4 latent channels"),
        ("unet/config.json", {"sample_size": [64, 96]}, "sample_size"),
        ("unet/config.json", {"sample_size": "large"}, "unet/config.json"),
    ],
)
def test_what_cannot_be_painted_with(folder: Path, file: str, values: dict[str, Any], complaint: str) -> None:
    change(folder, file, **values)
    with pytest.raises(ValueError, match=complaint):
        read_facts(folder)


def test_the_scheduler_that_takes_four_calls_a_step_is_refused(folder: Path) -> None:
    write(folder / "model_index.json", SD_INDEX)
    change(folder, "scheduler/scheduler_config.json", skip_prk_steps=False)
    with pytest.raises(ValueError, match="skip_prk_steps"):
        read_facts(folder)


def test_pickled_weights_are_none(folder: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ValueError, match="unet holds no safetensors"):
        read_facts(folder)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model_index.json"):
        read_facts(tmp_path)


def test_the_form_of_the_weights_that_is_wanted(folder: Path) -> None:
    part = folder / "unet"
    assert variant(part, half=True) is None
    write_weights(part / "diffusion_pytorch_model.fp16.safetensors", 5000)
    assert (variant(part, half=True), variant(part, half=False)) == ("fp16", None)
    assert read_facts(folder).numbers["unet"] == 5000
    (part / "diffusion_pytorch_model.safetensors").unlink()
    assert variant(part, half=False) == "fp16"


def test_shards_are_counted_together(folder: Path) -> None:
    part = folder / "unet"
    (part / "diffusion_pytorch_model.safetensors").unlink()
    for number in (1, 2):
        write_weights(part / f"diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors", 300)
    assert variant(part, half=False) == "fp16"
    assert read_facts(folder).numbers["unet"] == 600


def test_every_scheduler_on_the_list_is_taken(folder: Path) -> None:
    for name in SCHEDULERS:
        write(folder / "model_index.json", json.loads(json.dumps(INDEX)) | {"scheduler": ["diffusers", name]})
        assert read_facts(folder).scheduler == name
