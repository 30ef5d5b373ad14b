"""Our import names are everyday words: a user's own files of the same names must not win over them."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("gateway", "backends", "compat", "config")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A working directory with files that would break everything if they were imported."""
    for name in (*NAMES, "torch", "msgspec"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("raise SystemExit('imported from the working directory')")
    return tmp_path


def output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_name_means_our_tree(elsewhere: Path, name: str) -> None:
    found = output([sys.executable, "-P", "-c", f"import {name}; print({name}.__file__)"], elsewhere)
    assert Path(found.strip()).parent == ROOT / name


def test_the_command_starts_there(elsewhere: Path) -> None:
    command = str(Path(sys.executable).with_name("llm-cortex"))
    assert "is right" in output([command, "config", "check"], elsewhere)
