"""Which files of a repository in diffusers' layout are fetched: what painting loads, and that once.

Such a repository often holds the same weights several times: at full length and in 16 bits, pickled, for
other runtimes, and all in one file at its top. Must not talk to the hub.
"""

from collections.abc import Iterable, Sequence

import msgspec

from config.weight_names import INDEX, NEVER_LOADED, forms
from gateway.weights.errors import PullFailed

_SETTINGS = (".json", ".txt", ".model")
_SHARDS = ".index"
_HALF = ".fp16"
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".msgpack")
_FOR_PEOPLE = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")


def parts(index: bytes) -> list[str]:
    """Folders that a pipeline loads, by its model_index.json. Raises PullFailed."""
    try:
        entries = msgspec.json.decode(index, type=dict[str, msgspec.Raw])
        values = {name: msgspec.json.decode(raw) for name, raw in entries.items()}
    except msgspec.MsgspecError as error:
        raise PullFailed(f"{INDEX} makes no sense: {error}") from None
    return [
        name
        for name, value in values.items()
        if isinstance(value, list) and any(value) and name not in NEVER_LOADED
    ]


def choose(files: Iterable[str], prefix: str, names: Sequence[str]) -> list[str]:
    """Of the repository's files those of the parts `names`, weights first. 16 bits where there are such.

    Raises PullFailed for a part that has pickled weights alone.
    """
    files = sorted(files)
    weights: list[str] = []
    beside = [f"{prefix}{name}" for name in (INDEX, *_FOR_PEOPLE) if f"{prefix}{name}" in files]
    for name in names:
        folder = f"{prefix}{name}/"
        inside = [file.removeprefix(folder) for file in files if file.startswith(folder)]
        inside = [file for file in inside if "/" not in file]
        plain, halves = forms(inside)
        if not (plain or halves) and any(file.endswith(_PICKLED) for file in inside):
            raise PullFailed(f"{folder} has no safetensors files, only pickled weights, which are not loaded")
        weights += [folder + file for file in halves or plain]
        beside += [folder + file for file in inside if _is_wanted(file, halved=bool(halves))]
    return weights + beside


def _is_wanted(file: str, *, halved: bool) -> bool:
    """Settings, and of two lists of shards the one whose shards are fetched."""
    if not file.endswith(_SETTINGS):
        return False
    return _SHARDS not in file or (_HALF in file) == halved
