"""What of an XTTS model lies where: the checkpoint's files and the recordings of voices. Reads no weights."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Struct, field

from config.parameters import WeightsFile, XttsParameters

RECORDINGS = (".wav", ".flac", ".ogg", ".mp3")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NEEDED = {"ja": "cutlet", "zh": "pypinyin"}
"""Packages without which the library cannot read a language."""


class Checkpoint(Struct, frozen=True):
    weights: Path
    config: Path
    vocabulary: Path

    @classmethod
    def find(cls, weights: Path, parameters: XttsParameters) -> "Checkpoint":
        """`weights`: model.pth, or the folder that holds it. The other files stand beside it unless named."""
        file = weights / "model.pth" if weights.is_dir() else weights
        found = cls(
            file,
            _beside(file, "config.json", parameters.config),
            _beside(file, "vocab.json", parameters.vocab),
        )
        for each in (found.weights, found.config, found.vocabulary):
            if not each.is_file():
                raise ValueError(f"there is no file {each}")
        return found


def _beside(weights: Path, name: str, named: WeightsFile | None) -> Path:
    return weights.with_name(name) if named is None else Path(named.source)


class _Config(Struct):
    languages: list[str] = field(default_factory=list)


def languages(config: Path, first: str) -> list[str]:
    """ISO 639-1 codes that the model speaks and the installed library can read, `first` before all others."""
    try:
        # The library writes Infinity, which is no JSON, and which this reader takes.
        named = msgspec.convert(json.loads(config.read_bytes()), _Config).languages
    except ValueError as error:  # msgspec's and json's too
        raise ValueError(f"{config}: {error}") from None
    codes = [name.partition("-")[0] for name in named]
    usable = [code for code in codes if code not in _NEEDED or find_spec(_NEEDED[code]) is not None]
    if first not in usable:
        raise ValueError(f"language {first!r} is not to be had; there are: {', '.join(usable)}")
    return [first, *(code for code in usable if code != first)]


def recordings(folder: Path, first: str) -> dict[str, list[Path]]:
    """Recordings of each voice, `first` before all others: a file is a voice, and so is a folder of files.

    Raises ValueError where there are none.
    """
    if not folder.is_dir():
        raise ValueError(f"voices_dir: there is no folder {folder}")
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        files = _recordings_in(entry) if entry.is_dir() else [entry]
        files = [file for file in files if file.suffix.lower() in RECORDINGS]
        name = entry.name if entry.is_dir() else entry.stem
        if files and _NAME.fullmatch(name):
            found.setdefault(name, []).extend(files)
    if not found:
        raise ValueError(f"voices_dir: {folder} holds no recordings ({', '.join(RECORDINGS)})")
    if first and first not in found:
        raise ValueError(f"voice: {folder} holds no {first!r}; it holds: {', '.join(found)}")
    default = first or next(iter(found))
    return {default: found[default], **found}


def _recordings_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())
