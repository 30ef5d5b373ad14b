"""The peers of the chat measurement: llama-server on our own .so files, or xllamacpp.

Owns their command lines and the check that llama-server maps the libraries that llama-cpp-python installed.
"""

import contextlib
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.servers import Server, ServerFailed, free_port, running

LLAMA_SERVER = Path(__file__).parent / "vendor" / "build" / "bin" / "llama-server"
KINDS = ("llama-server", "xllamacpp")
AUTO = (
    "auto: llama-server where it is built (make bench-build), else xllamacpp where it is installed, else none"
)
SHARED = ("libllama", "libggml-base", "libggml-cpu", "libggml")


class Setting(Struct, frozen=True):
    """What both sides of a comparison are given alike."""

    model: Path
    slots: int
    """Sequences decoded together."""
    context: int
    """KV cells shared by all of them, tokens."""
    threads: int


def best() -> str:
    """The peer that `auto` means here."""
    if LLAMA_SERVER.exists():
        return "llama-server"
    return "xllamacpp" if importlib.util.find_spec("xllamacpp") else "none"


@contextlib.contextmanager
def llama_server(setting: Setting, scratch: Path, extra: Sequence[str] = ()) -> Iterator[Server]:
    """llama-server with continuous batching (its default) and without any cache of earlier prompts."""
    if not LLAMA_SERVER.exists():
        raise ServerFailed(f"{LLAMA_SERVER} is not built: make bench-build, or --peer xllamacpp")
    port = free_port()
    command = [str(LLAMA_SERVER), "--host", "127.0.0.1", "--port", str(port), "--alias", "bench"]
    command += ["-m", str(setting.model), "-np", str(setting.slots), "-c", str(setting.context)]
    command += ["-t", str(setting.threads), "-tb", str(setting.threads)]
    command += ["--cache-ram", "0", "--no-cache-prompt", "--no-slots", *extra]
    with running(
        "llama-server", command, port=port, ready_path="/health", log=scratch / "peer.log"
    ) as server:
        _check_shared_libraries(server.pid)
        yield server


@contextlib.contextmanager
def xllamacpp(setting: Setting, scratch: Path) -> Iterator[Server]:
    """llama-server's engine out of a wheel: not the same .so, and not built for this very processor."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ServerFailed("xllamacpp is not installed: pip install xllamacpp")
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.xllamacpp_server", str(setting.model), str(port)]
    command += [str(setting.slots), str(setting.context), str(setting.threads)]
    with running("xllamacpp", command, port=port, ready_path="/health", log=scratch / "peer.log") as server:
        yield server


def installed_libraries() -> Path:
    """Folder of llama-cpp-python's .so files, found without importing it."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise ServerFailed("llama-cpp-python is not installed here")
    return Path(spec.origin).parent / "lib"


def _check_shared_libraries(pid: int) -> None:
    """By content, as pip installs each library under several names. Linux only: elsewhere no check."""
    maps = Path(f"/proc/{pid}/maps")
    if not maps.exists():
        return
    mapped = {Path(line.split(maxsplit=5)[5]) for line in maps.read_text().splitlines() if ".so" in line}
    for name in SHARED:
        ours = installed_libraries() / f"{name}.so"
        theirs = next((path for path in mapped if path.name.startswith(f"{name}.so")), None)
        if theirs is None or _digest(theirs) != _digest(ours):
            raise ServerFailed(f"llama-server runs {theirs}, which is not {ours}: run make bench-build again")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
