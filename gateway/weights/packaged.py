"""The small models that our own package carries, each a folder in `config/starter`.

Owns finding and checking them. Nothing here is ever written: a package that is damaged is installed anew.
"""

from pathlib import Path

import config
from config.schema import ModelSpec
from gateway.weights import manifest
from gateway.weights.errors import WeightsCorrupt, WeightsMissing
from gateway.weights.progress import Silent
from gateway.weights.source import Packaged

FOLDER = Path(config.__file__).parent / "starter"


def locate(spec: ModelSpec, source: Packaged, among: Path = FOLDER) -> Path:
    """The model's folder; its weights are hashed, they are small. Raises WeightsMissing, WeightsCorrupt."""
    folder = among / source.name
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise WeightsMissing(
            f"{spec.name}: the package carries no model {source.name!r}; it has: {_names(among)}"
        )
    found = manifest.sha256(max(weights, key=lambda file: file.stat().st_size), Silent())
    if spec.sha256 and found != spec.sha256.lower():
        raise WeightsCorrupt(
            f"{spec.name}: the package's {source.name} has SHA-256 {found} and not {spec.sha256}; "
            "install the package anew"
        )
    return folder


def _names(among: Path) -> str:
    names = sorted(folder.name for folder in among.iterdir()) if among.is_dir() else []
    return ", ".join(names) or "none"
