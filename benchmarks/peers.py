"""The peers: llama-server, llama-cpp-python's two servers, all on our own .so files, and xllamacpp.

Owns their command lines and the check that they map the libraries that llama-cpp-python installed.
"""

import contextlib
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct

from benchmarks.servers import Server, ServerFailed, free_port, running

VENDOR = Path(__file__).parent / "vendor"
LLAMA_SERVER = VENDOR / "build" / "bin" / "llama-server"
BATCHED_BENCH = VENDOR / "build" / "bin" / "llama-batched-bench"
PYTHON_SERVERS = VENDOR / "python-servers" / "bin" / "python"
"""A virtual environment with the Python peers' packages and our own llama_cpp; see build_peer."""
AUTO = (
    "auto: llama-server where it is built (make bench-build), else xllamacpp where it is installed, else none"
)
SHARED = ("libllama", "libggml-base", "libggml-cpu", "libggml")


class Setting(Struct, frozen=True):
    """What all sides of a comparison are given alike."""

    model: Path
    slots: int
    """Sequences decoded together."""
    context: int
    """KV cells shared by all of them, tokens."""
    threads: int
    prompt_cache: bool = False
    """Whether a server may use again what it computed of other prompts."""


Peer = Callable[[Setting, Path, Sequence[str]], AbstractContextManager[Server]]


def best() -> str:
    """The peer that `auto` means here."""
    if LLAMA_SERVER.exists():
        return "llama-server"
    return "xllamacpp" if importlib.util.find_spec("xllamacpp") else "none"


@contextlib.contextmanager
def llama_server(setting: Setting, scratch: Path, extra: Sequence[str] = ()) -> Iterator[Server]:
    """llama-server with continuous batching (its default); prompts are cached in its slots at most."""
    _must_exist(LLAMA_SERVER)
    port = free_port()
    command = [str(LLAMA_SERVER), "--host", "127.0.0.1", "--port", str(port), "--alias", "bench"]
    command += ["-m", str(setting.model), "-np", str(setting.slots), "-c", str(setting.context)]
    command += ["-t", str(setting.threads), "-tb", str(setting.threads), "--cache-ram", "0", "--no-slots"]
    command += [*([] if setting.prompt_cache else ["--no-cache-prompt"]), *extra]
    log = scratch / "llama-server.log"
    with running("llama-server", command, port=port, ready_path="/health", log=log) as server:
        _check_shared_libraries(server)
        yield server


@contextlib.contextmanager
def xllamacpp(setting: Setting, scratch: Path, _extra: Sequence[str] = ()) -> Iterator[Server]:
    """llama-server's engine out of a wheel: not the same .so, and not built for this very processor."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ServerFailed("xllamacpp is not installed: pip install xllamacpp")
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.xllamacpp_server", str(setting.model), str(port)]
    command += [str(setting.slots), str(setting.context), str(setting.threads)]
    log = scratch / "xllamacpp.log"
    with running("xllamacpp", command, port=port, ready_path="/health", log=log) as server:
        yield server


@contextlib.contextmanager
def llama_cpp_server(setting: Setting, scratch: Path, _extra: Sequence[str] = ()) -> Iterator[Server]:
    """`python -m llama_cpp.server`: one request after the other. It must not drop one for the next."""
    _must_exist(PYTHON_SERVERS)
    port = free_port()
    command = [str(PYTHON_SERVERS), "-m", "llama_cpp.server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(setting.model), "--model_alias", "bench", "--n_ctx", str(setting.context)]
    command += ["--n_threads", str(setting.threads), "--n_threads_batch", str(setting.threads)]
    command += ["--interrupt_requests", "false", "--verbose", "false"]
    log = scratch / "llama_cpp.server.log"
    with running("llama_cpp.server", command, port=port, ready_path="/v1/models", log=log) as server:
        _check_shared_libraries(server)
        yield server


@contextlib.contextmanager
def example_server(setting: Setting, scratch: Path, _extra: Sequence[str] = ()) -> Iterator[Server]:
    """The batching example server in llama-cpp-python's source distribution, settings as in its configs."""
    _must_exist(PYTHON_SERVERS)
    script = VENDOR / f"llama_cpp_python-{version('llama-cpp-python')}" / "examples" / "server" / "server.py"
    port = free_port()
    model = {
        "path": str(setting.model),
        "alias": "bench",
        "n_ctx": setting.context,
        "n_seq_max": setting.slots,
        "threads": setting.threads,
        "threads_batch": setting.threads,
        "kv_unified": True,
        "store_logits": False,
    }
    config = scratch / "example-server.json"
    config.write_text(json.dumps({"server": {"host": "127.0.0.1", "port": port}, "model": model}))
    command = [str(PYTHON_SERVERS), str(script), "-C", str(config)]
    log = scratch / "example-server.log"
    with running("example-server", command, port=port, ready_path="/healthz", log=log) as server:
        _check_shared_libraries(server)
        yield server


PEERS: dict[str, Peer] = {
    "llama-server": llama_server,
    "xllamacpp": xllamacpp,
    "example-server": example_server,
    "llama_cpp.server": llama_cpp_server,
}


def _must_exist(file: Path) -> None:
    if not file.exists():
        raise ServerFailed(f"{file} is not built: make bench-build")


def installed_libraries() -> Path:
    """Folder of llama-cpp-python's .so files, found without importing it."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise ServerFailed("llama-cpp-python is not installed here")
    return Path(spec.origin).parent / "lib"


def _check_shared_libraries(server: Server) -> None:
    """By content, as pip installs each library under several names. Linux only: elsewhere no check."""
    maps = Path(f"/proc/{server.pid}/maps")
    if not maps.exists():
        return
    mapped = {Path(line.split(maxsplit=5)[5]) for line in maps.read_text().splitlines() if ".so" in line}
    for name in SHARED:
        ours = installed_libraries() / f"{name}.so"
        theirs = next((path for path in mapped if path.name.startswith(f"{name}.so")), None)
        if theirs is None or _digest(theirs) != _digest(ours):
            raise ServerFailed(
                f"{server.name} runs {theirs}, which is not {ours}: run make bench-build again"
            )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
