"""The wheel, built from this tree: what a user installs has the starter models in it, and no tests."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config.load import load_config

ROOT = Path(__file__).parents[2]
CARRIED = [
    model.source.removeprefix("package:")
    for model in load_config(None, {}).models
    if model.source.startswith("package:")
]
MOST_BYTES = 4_000_000
"""Of the models that the package carries, together."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built as pip builds it, without a network, from a copy: building leaves files behind."""
    source, target = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("wheel")
    files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(files, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "-w", str(target), str(source)]
    subprocess.run(command, check=True)
    (file,) = target.iterdir()
    return zipfile.ZipFile(file)


def test_there_are_models_to_carry() -> None:
    assert set(CARRIED) == {"shapes-captioner", "shapes-clip"}


@pytest.mark.parametrize("name", CARRIED)
def test_it_carries_the_starter_model(wheel: zipfile.ZipFile, name: str) -> None:
    here = {file.name for file in (ROOT / "config" / "starter" / name).iterdir()}
    there = {Path(path).name for path in wheel.namelist() if path.startswith(f"config/starter/{name}/")}
    assert there == here
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= there


def test_what_it_carries_is_small(wheel: zipfile.ZipFile) -> None:
    carried = [info.file_size for info in wheel.infolist() if info.filename.startswith("config/starter/")]
    assert sum(carried) < MOST_BYTES


def test_it_has_the_product_alone(wheel: zipfile.ZipFile) -> None:
    folders = {path.partition("/")[0] for path in wheel.namelist()}
    assert {"gateway", "backends", "compat", "config"} <= folders
    assert not {"tests", "benchmarks", "training", "examples"} & folders
    assert any(path.endswith("licenses/LICENSE") for path in wheel.namelist())
