"""Runs a worker as a process group on this machine.

Owns spawning, its stderr, killing and reaping. Knows nothing of models or jobs.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import psutil

from gateway.engine.launcher.environment import child_environment

KEPT_STDERR_LINES = 40


class LocalProcess:
    """One child, leader of its own process group (its helpers are in it)."""

    def __init__(self, process: asyncio.subprocess.Process, sock: socket.socket) -> None:
        self._process = process
        self.sock = sock
        """Our end of the channel."""
        self.stderr: deque[str] = deque(maxlen=KEPT_STDERR_LINES)
        self._reader = asyncio.create_task(self._read_stderr())

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Reap it and whatever is left of its group; the exit status, negative for a signal."""
        status = await self._process.wait()
        self.kill()
        # A grandchild may hold the pipe open for a moment; the group's death ends that.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reader, 1)
        return status

    def memory_bytes(self) -> int:
        """Resident memory of the process and its helpers; 0 once it is gone."""
        try:
            return sum(psutil.Process(pid).memory_info().rss for pid in (self.pid, *_children(self.pid)))
        except (psutil.Error, OSError):
            return 0

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while line := await self._read_line(self._process.stderr):
            self.stderr.append(line.decode(errors="replace").rstrip()[:500])

    @staticmethod
    async def _read_line(stream: asyncio.StreamReader) -> bytes:
        try:
            return await stream.readline()
        except ValueError:  # a line over the reader's limit: it has been dropped, go on
            return b"(a very long line)\n"


def _children(pid: int) -> list[int]:
    """Process ids of its helpers. From the kernel's list of each thread: psutil would read all of /proc."""
    if sys.platform != "linux":
        return [child.pid for child in psutil.Process(pid).children()]
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


async def launch(python: str | None, env: Mapping[str, str]) -> LocalProcess:
    """Start a worker process that waits for Load on its channel. Raises OSError if it cannot be spawned."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            python or sys.executable,
            *("-P", "-m", "backends", "worker", str(theirs.fileno()), str(os.getpid())),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=child_environment(env),
        )
    return LocalProcess(process, ours)
