"""The parent-side handle on one child: launch, greeting, load, messages, end.

Owns the process and its channel. Decides nothing: everything that happens is reported as an event, and
after the process is reaped comes WorkerDied; nothing after it but, where that is to be waited for,
MemoryReturned.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from backends.protocol import (
    PROTOCOL_VERSION,
    Frame,
    Hello,
    Load,
    LoadFailed,
    Loading,
    Message,
    Ready,
    Stop,
    WorkerMessage,
)
from config.schema import BackendConfig
from gateway.engine.channel import Channel
from gateway.engine.events import (
    Event,
    FrameReceived,
    LoadProgressed,
    MemoryReturned,
    WorkerDied,
    WorkerReady,
)
from gateway.engine.launcher.local import LocalProcess, launch
from gateway.engine.launcher.memory import GroupMemory

MemoryBack = Callable[[int, Sequence[int], Sequence[str]], bool]
"""Waits for the memory of a process group, its processes and devices; False: in vain. Blocks."""

log = structlog.get_logger(__name__)


class Worker:
    """See the module's docstring. `post` receives its events; `returned` waits for its memory."""

    def __init__(
        self,
        worker_id: int,
        backend: BackendConfig,
        load: Load,
        spool: Path | None,
        post: Callable[[Event], None],
        *,
        returned: MemoryBack,
    ) -> None:
        self.id = worker_id
        self.load = load
        self._backend = backend
        self._spool = spool
        self._post = post
        self._returned = returned
        self.memory = GroupMemory()
        """Of all its processes, as it was seen last."""
        self._process: LocalProcess | None = None
        self._channel: Channel | None = None
        self._reason = ""
        self._load_failure: LoadFailed | None = None
        self._killed = False
        self._halted = False
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def stderr(self) -> list[str]:
        """Its last lines."""
        return self._process.stderr.last() if self._process else []

    def memory_bytes(self) -> int:
        """On the host (PSS)."""
        return self.memory.bytes

    @property
    def devices(self) -> list[str]:
        return [share.device for share in self.load.spread] or [self.load.device]

    async def run(self) -> None:
        """Launch it and stay until it is reaped."""
        try:
            await self._run()
        except Exception as error:  # edge of the task: whoever waits for this worker must hear of its end
            log.exception("a worker was lost sight of", worker=self.id, model=self.load.spec.name)
            if self._process is not None:
                self._process.kill()
            self._post(WorkerDied(self.id, f"lost sight of: {error}"))

    async def _run(self) -> None:
        try:
            self._process = await launch(self._backend.python, self._backend.env, self._spool)
        except OSError as error:
            self._post(WorkerDied(self.id, f"cannot be started: {error}"))
            return
        try:
            self._channel = await Channel.open(self._process.sock, self._on_message, self._on_closed)
            self.send(self.load)
            if self._killed:
                self._process.kill()
            status = await self._process.wait()
        except asyncio.CancelledError:
            self._process.kill()
            raise
        finally:
            if self._channel is not None:
                self._channel.close()
        await self._end(status, self._process)

    async def _end(self, status: int, process: LocalProcess) -> None:
        """Its jobs are told at once; who wants its memory is told when that is back."""
        back = process.is_gone() and self.devices == ["cpu"]
        self._post(msgspec.structs.replace(self._death(status), memory_back=back))
        if not back:
            in_time = await asyncio.to_thread(self._returned, process.pid, self.memory.pids, self.devices)
            if not in_time:
                log.warning("memory has not come back", worker=self.id, model=self.load.spec.name)
            self._post(MemoryReturned(self.id, in_time))

    def send(self, message: Message) -> None:
        if self._channel is not None:
            self._channel.send(message)

    def stop(self, timeout_s: float) -> None:
        """Ask it to end; kill it after `timeout_s`, or at once if it is still loading: it holds no job."""
        if not self._ready:
            self.kill("stopped while it was loading")
            return
        self.send(Stop())
        asyncio.get_running_loop().call_later(timeout_s, self.kill, "did not stop when asked")

    def kill(self, reason: str) -> None:
        """End the whole group now."""
        self._killed = True
        if self._process is not None:
            if self._process.is_halted():
                self._halted, reason = True, f"{reason}: stopped by a signal from outside"
            self._process.kill()
        self._reason = self._reason or reason

    def _on_message(self, message: WorkerMessage) -> None:
        match message:
            case Frame():
                self._post(FrameReceived(self.id, message))
            case Loading(stage, fraction):
                self._post(LoadProgressed(self.id, stage, fraction))
            case Ready(capacity, load_s):
                self._ready = True
                self._post(WorkerReady(self.id, capacity, load_s, self.pid))
            case LoadFailed():
                self._load_failure = message
            case Hello(protocol, version):
                if protocol != PROTOCOL_VERSION:
                    self.kill(
                        f"speaks protocol {protocol} (version {version}), this gateway {PROTOCOL_VERSION}: "
                        "install the same version for both"
                    )

    def _on_closed(self, error: Exception | None) -> None:
        """The channel is gone: whatever the process does now, nobody hears it."""
        self.kill(f"sent what is no message: {error}" if error else "")

    def _death(self, status: int) -> WorkerDied:
        if self._load_failure is not None:
            failure = self._load_failure
            kind = "crash" if failure.kind == "internal" else failure.kind
            return WorkerDied(self.id, failure.message, kind=kind, stderr=self.stderr)
        killed = status in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)
        external = self._halted or (killed and not self._reason)
        reason = self._reason or _describe_status(status)
        return WorkerDied(self.id, reason, external, stderr=self.stderr)


def _describe_status(status: int) -> str:
    if status < 0:
        named = {one.value: one.name for one in signal.Signals}  # those for real-time use have no names
        return f"killed by {named.get(-status, f'signal {-status}')}"
    return f"exited with status {status}"
