"""Models that our own package carries: found by name, checked by hash, never written."""

from pathlib import Path

import pytest

from gateway.weights import packaged
from gateway.weights.errors import WeightsCorrupt, WeightsMissing
from gateway.weights.source import Packaged
from tests.unit.gateway.weights.conftest import SHA256, WEIGHTS, spec


@pytest.fixture
def among(tmp_path: Path) -> Path:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "model.safetensors").write_bytes(WEIGHTS)
    return tmp_path


def test_a_model_is_its_folder(among: Path) -> None:
    found = packaged.locate(spec("package:toy", sha256=SHA256), Packaged("toy"), among)
    assert found == among / "toy"


def test_what_was_changed_is_not_used(among: Path) -> None:
    (among / "toy" / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")
    with pytest.raises(WeightsCorrupt, match="install the package anew"):
        packaged.locate(spec("package:toy", sha256=SHA256), Packaged("toy"), among)


def test_a_model_that_is_not_carried_is_told_with_those_that_are(among: Path) -> None:
    with pytest.raises(WeightsMissing, match="'other'; it has: toy"):
        packaged.locate(spec("package:other"), Packaged("other"), among)
