"""Fetches files of a repository on the Hugging Face hub.

Owns the choice of files and the talk with huggingface_hub, which brings resuming, retries, mirrors
(HF_ENDPOINT) and the token (HF_TOKEN or its own login). Must not be imported for its client by the server.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

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
    """The part of huggingface_hub that is used; a recording stands in for it in tests."""

    def facts(self, repo: str, revision: str) -> RepoFacts: ...

    def download(self, repo: str, commit: str, file: str, into: Path, progress: Progress) -> None:
        """Put `file` below `into`, going on where an earlier try ended."""


def fetch(source: HubRepo, facts: RepoFacts, hub: Hub, into: Path, progress: Progress) -> Fetched:
    """Put the files into `into`; what an interrupted pull left there is gone on with."""
    wanted = choose(facts.files, source)
    for name in wanted:
        progress.start(f"downloading {name}", facts.files[name] or None)
        hub.download(source.repo, facts.commit, name, into, progress)
    shutil.rmtree(into / ".cache", ignore_errors=True)  # the client's own notes for going on
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
    prefix = f"{source.path}/" if source.path else ""
    inside = [name for name in files if name.startswith(prefix)]
    weights = [name for name in inside if name.endswith(".safetensors")]
    if not weights:
        raise PullFailed(_nothing_fits(source, files))
    return weights + [name for name in inside if name.endswith(_USED_BESIDE_WEIGHTS)]


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


class HuggingFaceHub:
    """The real one."""

    def facts(self, repo: str, revision: str) -> RepoFacts:
        from huggingface_hub import HfApi

        info = explained(repo, lambda: HfApi().model_info(repo, revision=revision, files_metadata=True))
        card = info.card_data.to_dict() if info.card_data else {}
        licence = card.get("license_name") or card.get("license")
        return RepoFacts(
            commit=info.sha,
            licence=str(licence) if licence else None,
            files={file.rfilename: file.size or 0 for file in info.siblings or []},
            sha256={file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs},
        )

    def download(self, repo: str, commit: str, file: str, into: Path, progress: Progress) -> None:
        from huggingface_hub import hf_hub_download

        bar = forwarding_bar(progress)
        explained(repo, lambda: hf_hub_download(repo, file, revision=commit, local_dir=into, tqdm_class=bar))


def explained(repo: str, call: Any) -> Any:
    """The call's answer; its errors as one line that says what to do."""
    from huggingface_hub import errors

    try:
        return call()
    except errors.GatedRepoError:
        raise PullFailed(
            f"hf:{repo} is gated: accept its terms on its page, then set HF_TOKEN to a token of yours"
        ) from None
    except errors.RepositoryNotFoundError:
        raise PullFailed(f"hf:{repo} does not exist, or is private and HF_TOKEN is not set") from None
    except errors.RevisionNotFoundError:
        raise PullFailed(f"hf:{repo} has no such revision") from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.HFValidationError) as error:
        raise PullFailed(f"hf:{repo}: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise PullFailed(f"hf:{repo}: the hub cannot be reached or the disk is full: {error}") from None


def forwarding_bar(progress: Progress) -> Any:
    """A tqdm class that draws nothing and reports to `progress`."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Forward(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # huggingface_hub passes a `name` that only its own subclass knows.
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs)
            if self.initial:
                progress.advance(int(self.initial))

        def update(self, n: float | None = 1) -> bool | None:
            progress.advance(int(n or 0))
            return None

        def display(self, *args: Any, **kwargs: Any) -> None:
            pass

    return Forward
