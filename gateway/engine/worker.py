"""The parent-side handle on one child: launch, greeting, load, messages, end.

Owns the process and its channel. Decides nothing: everything that happens is reported as an event, and the
last one is always WorkerDied, after the process is reaped.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

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
from gateway.engine.events import Event, FrameReceived, LoadProgressed, WorkerDied, WorkerReady
from gateway.engine.launcher.local import LocalProcess, launch


class Worker:
    """See the module's docstring. `post` receives its events."""

    def __init__(
        self,
        worker_id: int,
        backend: BackendConfig,
        load: Load,
        spool: Path | None,
        post: Callable[[Event], None],
    ) -> None:
        self.id = worker_id
        self.load = load
        self._backend = backend
        self._spool = spool
        self._post = post
        self._process: LocalProcess | None = None
        self._channel: Channel | None = None
        self._reason = ""
        self._load_failure: LoadFailed | None = None
        self._killed = False
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def stderr(self) -> list[str]:
        """Its last lines."""
        return list(self._process.stderr) if self._process else []

    def memory_bytes(self) -> int:
        return self._process.memory_bytes() if self._process else 0

    async def run(self) -> None:
        """Launch it and stay until it is reaped."""
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
        self._post(self._death(status))

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
        self._reason = self._reason or reason
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def _on_message(self, message: WorkerMessage) -> None:
        match message:
            case Frame():
                self._post(FrameReceived(self.id, message))
            case Loading(stage, fraction):
                self._post(LoadProgressed(self.id, stage, fraction))
            case Ready(capacity, load_s):
                self._ready = True
                self._post(WorkerReady(self.id, capacity, load_s))
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
            return WorkerDied(self.id, failure.message, kind=kind)
        external = not self._reason and status in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)
        return WorkerDied(self.id, self._reason or _describe_status(status), external)


def _describe_status(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"
