"""What a fetched model consists of: its files with sizes and hashes, and checks against them.

Owns manifest.json and the hashing. Must not know where weights come from.
"""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct, field

from gateway.weights.errors import PullFailed
from gateway.weights.progress import Progress

_CHUNK_BYTES = 4 * 1024 * 1024


class FileFacts(Struct, frozen=True):
    size: int
    sha256: str
    mtime_ns: int
    """A cheap sign of change: a file with another time is hashed again before it is trusted."""


class Fetched(Struct, frozen=True, kw_only=True):
    """What a fetch has put into its folder."""

    main: str
    """What a backend opens: a file or folder below; empty: the folder itself."""
    files: list[str]
    sha256: dict[str, str] = field(default_factory=dict)
    """Hashes that the sender promised."""
    licence: str | None = None
    revision: str | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """Of one source. Files stand below `folder`, and so does `main`."""

    source: str
    folder: str
    main: str
    files: dict[str, FileFacts] = field(default_factory=dict)
    licence: str | None = None
    revision: str | None = None
    """Commit of a hub repository at the time of the pull."""

    def weights_sha256(self) -> str:
        """Hash of the file itself, or of a folder's largest file."""
        if self.main in self.files:
            return self.files[self.main].sha256
        largest = max(self.files, key=lambda name: self.files[name].size)
        return self.files[largest].sha256

    def fingerprint(self) -> str:
        """Changes when any file does."""
        digest = hashlib.sha256()
        for name in sorted(self.files):
            digest.update(f"{name}\0{self.files[name].sha256}\n".encode())
        return digest.hexdigest()


def read(file: Path) -> Manifest | None:
    """The manifest in `file`; None if there is none or it cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def write(file: Path, manifest: Manifest) -> None:
    """Replaces `file` in one step."""
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    new.replace(file)


def take(folder: Path, fetched: Fetched, progress: Progress) -> dict[str, FileFacts]:
    """Facts of every fetched file in `folder`. Raises PullFailed where a promise about one is broken."""
    files = {}
    progress.start("checking", sum((folder / name).stat().st_size for name in fetched.files))
    for name in fetched.files:
        file = folder / name
        stat = file.stat()
        files[name] = FileFacts(size=stat.st_size, sha256=sha256(file, progress), mtime_ns=stat.st_mtime_ns)
        if fetched.sha256.get(name, files[name].sha256) != files[name].sha256:
            file.unlink()
            raise PullFailed(f"{name}: arrived damaged, its SHA-256 is wrong; pull again")
    return files


def sha256(file: Path, progress: Progress) -> str:
    """Hash of `file`; tells `progress` how far it is, on the bar that the caller has started."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()
