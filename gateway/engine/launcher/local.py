"""Runs a worker as a process group on this machine.

Owns spawning, its stderr, killing and reaping. Knows nothing of models or jobs.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psutil

from gateway.engine.launcher.environment import child_environment
from gateway.engine.launcher.stderr_lines import StderrLines


class LocalProcess:
    """One child, leader of its own process group (its helpers are in it). `folder` is removed with it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        sock: socket.socket,
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._process = process
        self._folder = folder
        self.sock = sock
        """Our end of the channel."""
        self.stderr = StderrLines(environment)
        self._reader = asyncio.create_task(self._read_stderr())

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_halted(self) -> bool:
        """Somebody has stopped it by a signal, or traces it: that it does nothing is not its fault."""
        try:
            return psutil.Process(self.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        except psutil.Error:
            return False

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
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        return status

    def is_gone(self) -> bool:
        """No process of the group is left. False: perhaps one is."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while line := await self._read_line(self._process.stderr):
            self.stderr.add(line)

    @staticmethod
    async def _read_line(stream: asyncio.StreamReader) -> bytes:
        try:
            return await stream.readline()
        except ValueError:  # a line over the reader's limit: it has been dropped, go on
            return b"(a very long line)\n"


async def launch(python: str | None, env: Mapping[str, str], spool: Path | None) -> LocalProcess:
    """Start a worker process that waits for Load on its channel. Raises OSError if it cannot be spawned.

    Its temporary files, and those of its helpers, go to a folder of its own in `spool` (None: the system's).
    """
    environment = child_environment(env)
    folder = Path(tempfile.mkdtemp(prefix="llm-cortex-worker-", dir=env.get("TMPDIR") or spool))
    try:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await _spawn(python, {**environment, "TMPDIR": str(folder)}, theirs.fileno())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return LocalProcess(process, ours, folder, environment)


async def _spawn(python: str | None, env: Mapping[str, str], channel: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        python or sys.executable,
        *("-P", "-m", "backends", "worker", str(channel), str(os.getpid())),
        pass_fds=[channel],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env=env,
    )
