"""One more model for a configuration that is in use."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.one_model import model_from
from config.schema import Config, DeviceConfig, ModelSpec

OTHER = ModelSpec(name="other", backend="fake", tasks=["generate"], source="/x", aliases=["also"])
NEW = {"name": "new", "backend": "fake", "tasks": ["generate"], "source": "weights"}


def test_relative_paths_count_from_the_files_folder(tmp_path: Path) -> None:
    assert model_from(NEW, [OTHER], Config(), tmp_path).source == str(tmp_path / "weights")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"name": "also"}, "name: 'also' is already taken by the model 'other'"),
        ({"aliases": ["other"]}, "aliases[0]: 'other' is already taken by the model 'other'"),
        ({"aliases": ["new"]}, "aliases[0]: 'new' is already taken by its own name"),
        ({"aliases": ["x", "x"]}, "aliases[1]: 'x' is already taken by its own aliases[0]"),
        ({"sourc": "x"}, "sourc: unknown setting; did you mean 'source'?"),
        ({"device": "tpu"}, "device: 'tpu' is not among the devices cpu"),
    ],
)
def test_faults_are_told_by_their_path_inside_the_model(fault: dict[str, object], told: str) -> None:
    config = Config(devices=[DeviceConfig(name="cpu")])
    with pytest.raises(ConfigError) as caught:
        model_from(NEW | fault, [OTHER], config, Path("/"))
    assert caught.value.problems == [told]


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigError):
        model_from(["new"], [OTHER], Config(), Path("/"))
