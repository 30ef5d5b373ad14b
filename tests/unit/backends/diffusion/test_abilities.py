from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.diffusion import DiffusionBackend
from backends.diffusion.abilities import abilities
from backends.diffusion.folder import read_facts
from config.parameters import DiffusionParameters
from config.schema import ModelSpec, Task
from tests.unit.backends.diffusion.conftest import change


def parameters(**values: Any) -> DiffusionParameters:
    return msgspec.convert(values, DiffusionParameters)


def backend(folder: Path, tasks: list[Task], **values: Any) -> DiffusionBackend:
    spec = ModelSpec(
        name="m", backend="diffusion", tasks=tasks, source=str(folder), licence="sai-nc", parameters=values
    )
    return DiffusionBackend(spec, folder)


def test_a_turbo_model_paints_in_one_step_without_guidance(folder: Path) -> None:
    can = abilities(read_facts(folder), parameters())
    assert (can.steps, can.quality, can.guidance) == (1, {"low": 1, "medium": 2, "high": 4}, 0.0)


def test_another_model(folder: Path) -> None:
    change(folder, "scheduler/scheduler_config.json", timestep_spacing="leading")
    can = abilities(read_facts(folder), parameters())
    assert (can.steps, can.quality["high"], can.guidance) == (30, 50, 5.0)


def test_what_the_configuration_says_counts(folder: Path) -> None:
    told = parameters(
        steps=3, guidance=2, quality_steps={"low": 2, "medium": 3, "high": 9}, sizes=["256x128", "64x64"]
    )
    can = abilities(read_facts(folder), told)
    assert (can.steps, can.quality["high"], can.guidance) == (3, 9, 2.0)
    assert can.size_names == ["256x128", "64x64"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"steps": 101}, "steps is 101, but this model paints in at most 100"),
        ({"max_steps": 3}, "quality_steps.high is 4"),
        ({"max_steps": 2000, "steps": 1001}, "at most 1000"),
        ({"sizes": ["100x100"]}, "multiples of 8"),
    ],
)
def test_settings_that_cannot_be_followed(folder: Path, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        abilities(read_facts(folder), parameters(**values))


def test_a_description(folder: Path) -> None:
    told = backend(folder, ["paint", "edit"]).describe()
    assert told.tasks == ["paint", "edit"]
    assert {"n", "quality", "steps", "guidance", "negative_prompt", "seed", "mask"} <= set(told.parameters)
    assert told.limits == {"n": 10, "images": 1, "steps": 100, "partial_images": 8}
    assert told.sizes[:2] == ["512x512", "576x448"]
    assert told.licence == "sai-nc"
    assert "mask" not in backend(folder, ["paint"]).describe().parameters


def test_memory_follows_the_settings(folder: Path) -> None:
    def memory(**values: Any) -> int:
        return backend(folder, ["paint"], **values).describe().memory_bytes

    assert memory(dtype="float16") < memory(dtype="float32")
    assert memory(batch_items=1) < memory(batch_items=200)
    assert memory(sizes=["64x64"]) < memory()
    assert memory(vae_tiling=True, batch_items=1, sizes=["1024x1024"]) < memory(
        batch_items=1, sizes=["1024x1024"]
    )


def test_other_tasks_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="nothing else"):
        backend(folder, ["caption"]).describe()
