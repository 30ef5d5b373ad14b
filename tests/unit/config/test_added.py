"""Models that were added to a running server and are to stay."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from config.added import added_file, drop_added, keep_added
from config.errors import ConfigError
from config.load import ConfigFile, load_config

OWN = "models: [{name: own, backend: fake, tasks: [generate], source: /x}]"
MORE = {"name": "more", "backend": "fake", "tasks": ["generate"], "source": "/y"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "my.yaml"
    file.write_text(OWN)
    return file


def names(file: Path) -> list[str]:
    return [model.name for model in load_config(file, {}).models]


def test_what_is_kept_is_read_after_the_files_own(file: Path) -> None:
    before = ConfigFile(file).state()
    keep_added(file, MORE)
    keep_added(file, MORE | {"source": "/z"})
    assert names(file) == ["own", "more"]
    assert load_config(file, {}).models[1].source == "/z"
    assert ConfigFile(file).state() != before
    assert file.read_text() == OWN
    assert drop_added(file, "more")
    assert not drop_added(file, "own")
    assert names(file) == ["own"]


def test_none_of_many_changes_at_once_is_lost(file: Path) -> None:
    kept = [f"m{number}" for number in range(12)]
    for name in kept[:4]:
        keep_added(file, MORE | {"name": name})
    with ThreadPoolExecutor(12) as pool:
        changes = [pool.submit(keep_added, file, MORE | {"name": name}) for name in kept[4:]]
        dropped = [pool.submit(drop_added, file, name) for name in kept[:4]]
    assert [change.result() for change in changes] == [None] * 8
    assert all(drop.result() for drop in dropped)
    assert set(names(file)) == {"own", *kept[4:]}


def test_the_file_itself_wins(file: Path) -> None:
    keep_added(file, MORE | {"name": "own"})
    assert load_config(file, {}).models[0].source == "/x"
    assert names(file) == ["own"]


@pytest.mark.parametrize(
    "text", ["models: [", "nonsense", "models: {}", "models: [2024-13-45]", "models: [0x_]", "[" * 1500]
)
def test_a_damaged_file_is_named(file: Path, text: str) -> None:
    added_file(file).write_text(text)
    with pytest.raises(ConfigError, match=r"my\.added\.yaml"):
        load_config(file, {})


def test_a_faulty_model_in_it_is_found(file: Path) -> None:
    keep_added(file, MORE | {"sourc": 1})
    with pytest.raises(ConfigError, match="sourc"):
        load_config(file, {})
