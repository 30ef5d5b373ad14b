"""The photographs, scans and drawings that scikit-image and scikit-learn carry, as the files that they are.

Neither package is imported: of their wheels only the data are of use here.
"""

from importlib.util import find_spec
from pathlib import Path

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
_TAKEN = (".png", ".jpg", ".gif")


def photographs() -> dict[str, bytes]:
    """By file name: those of formats that the gateway takes."""
    return _files(_TAKEN)


def scans() -> dict[str, bytes]:
    """By file name: TIFF files, which it does not take."""
    return _files((".tif",))


def _files(endings: tuple[str, ...]) -> dict[str, bytes]:
    return {
        file.name: file.read_bytes()
        for package, folder in _FOLDERS.items()
        for file in sorted((_place(package) / folder).iterdir())
        if file.suffix in endings
    }


def _place(package: str) -> Path:
    found = find_spec(package)
    assert found is not None, f"{package} is not installed"
    assert found.submodule_search_locations, f"{package} is no package"
    return Path(found.submodule_search_locations[0])
