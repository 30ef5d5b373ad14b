"""The servers of a measurement, run as children of the benchmark: started, awaited, always stopped.

Owns their processes: each has its own session, gets SIGTERM when this process dies (Linux), and on leaving
the `with` block it and everything it started is stopped, by pid.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import psutil
from msgspec import Struct

from benchmarks.client import Address

STOP_S = 10.0
_PR_SET_PDEATHSIG = 1


class ServerFailed(Exception):
    """A server ended or did not become ready; the message carries the end of its log."""


class Server(Struct, frozen=True):
    name: str
    address: Address
    pid: int
    """0: no server, but a program that the measurement itself starts."""
    command: list[str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    ready_path: str,
    log: Path,
    ready_s: float = 120.0,
    env: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Runs `command`, which must listen on 127.0.0.1:`port`, until the block is left. Raises ServerFailed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 (no threads here)
            env={**os.environ, **(env or {})},
        )
    try:
        _wait_ready(process, name, f"http://127.0.0.1:{port}{ready_path}", log, ready_s)
        yield Server(name, Address("127.0.0.1", port), process.pid, list(command))
    finally:
        _stop(process)


def stop_on_sigterm() -> None:
    """Makes SIGTERM unwind the stack, so that every `running` block stops its server."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_ready(process: subprocess.Popen[bytes], name: str, url: str, log: Path, ready_s: float) -> None:
    give_up_at = time.monotonic() + ready_s
    while time.monotonic() < give_up_at:
        if process.poll() is not None:
            raise ServerFailed(f"{name} ended with code {process.returncode}:\n{_tail(log)}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2.0).status_code == 200:
                return
        time.sleep(0.1)
    raise ServerFailed(f"{name} did not answer 200 at {url} in {ready_s} s:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL to whatever is left of the process and its descendants."""
    try:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    if process.poll() is None:
        process.terminate()
    _, alive = psutil.wait_procs([p for p in tree if p.pid != process.pid], timeout=0)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    _, alive = psutil.wait_procs(alive, timeout=1.0)
    for left in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    if process.poll() is None:
        process.kill()
    process.wait()
