"""Fetches files of a repository on the Hugging Face hub.

Owns the choice of files; gateway.weights.pipeline chooses in diffusers' layout. gateway.weights.hub talks to
the hub.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from config.weight_names import INDEX
from gateway.weights import pipeline
from gateway.weights.errors import PullFailed
from gateway.weights.manifest import Fetched
from gateway.weights.progress import Progress
from gateway.weights.source import HubRepo, is_safe

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf")
_USED_BESIDE_WEIGHTS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".py.typed", "README.md", "LICENSE")


class RepoFacts(Struct, frozen=True):
    commit: str
    licence: str | None
    files: dict[str, int]
    """Name to size in bytes; 0 where the hub does not say."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of the large files."""


class Hub(Protocol):
    """What is asked of a hub."""

    def facts(self, repo: str, revision: str) -> RepoFacts: ...

    def download(self, repo: str, commit: str, file: str, into: Path, progress: Progress) -> None:
        """Put `file` below `into`, going on where an earlier try ended."""


def fetch(source: HubRepo, facts: RepoFacts, hub: Hub, into: Path, progress: Progress) -> Fetched:
    """Put the files into `into`; what an interrupted pull left there is gone on with."""

    def download(name: str) -> None:
        progress.start(f"downloading {name}", facts.files[name] or None)
        hub.download(source.repo, facts.commit, name, into, progress)

    index = f"{_prefix(source)}{INDEX}"
    if index in facts.files and is_safe(index):
        download(index)
        names = pipeline.parts((into / index).read_bytes())
        wanted = pipeline.choose(filter(is_safe, facts.files), _prefix(source), names)
    else:
        wanted = choose(facts.files, source)
    for name in wanted:
        download(name)
    return Fetched(
        main=wanted[0] if source.path in facts.files else source.path,
        files=wanted,
        sha256=facts.sha256,
        licence=facts.licence,
        revision=facts.commit,
    )


def choose(files: Iterable[str], source: HubRepo) -> list[str]:
    """Names of the files to fetch; the one to open first. Raises PullFailed where nothing fits.

    One file: that file, with all parts if it is a split GGUF. A folder or a whole repository: safetensors
    with what stands beside them; pickled weights are left out, they could run code when loaded.
    """
    files = sorted(name for name in files if is_safe(name))
    if source.path in files:
        return _with_parts(source.path, files)
    prefix = _prefix(source)
    inside = [name for name in files if name.startswith(prefix)]
    weights = [name for name in inside if name.endswith(".safetensors")]
    if not weights:
        raise PullFailed(_nothing_fits(source, files))
    return weights + [name for name in inside if name.endswith(_USED_BESIDE_WEIGHTS)]


def _prefix(source: HubRepo) -> str:
    return f"{source.path}/" if source.path else ""


def _with_parts(path: str, files: list[str]) -> list[str]:
    match = _SPLIT.fullmatch(path)
    if match is None:
        return [path]
    count = int(match["parts"])
    parts = [f"{match['stem']}-{number:05}-of-{match['parts']}.gguf" for number in range(1, count + 1)]
    if missing := [part for part in parts if part not in files]:
        raise PullFailed(f"{path}: the repository lacks the part {missing[0]}")
    return parts


def _nothing_fits(source: HubRepo, files: list[str]) -> str:
    ggufs = [name for name in files if name.endswith(".gguf")]
    if source.path:
        offered = ggufs or files
        return f"hf:{source.repo} has no {source.path!r}; it has: {', '.join(offered[:20])}"
    if ggufs:
        return f"hf:{source.repo} holds several GGUF files; name one: hf:{source.repo}/{ggufs[0]}"
    return f"hf:{source.repo} has no safetensors files"
