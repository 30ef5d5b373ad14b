"""Carries out starts and stops of workers, and never chooses any.

Owns the live Worker handles and their tasks.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from backends.protocol import Load, Message
from config.schema import BackendConfig
from gateway.engine.events import Event, WorkerDied
from gateway.engine.worker import MemoryBack, Worker

log = structlog.get_logger(__name__)


class Supervisor:
    """`post` receives every worker's events; `spool` is where their temporary files go."""

    def __init__(
        self,
        backends: Mapping[str, BackendConfig],
        stop_timeout_s: float,
        spool: Path | None,
        post: Callable[[Event], None],
        returned: MemoryBack,
    ) -> None:
        """`returned`: see Worker."""
        self.workers: dict[int, Worker] = {}
        self._backends = backends
        self._stop_timeout_s = stop_timeout_s
        self._spool = spool
        self._post = post
        self._returned = returned
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, worker_id: int, load: Load) -> None:
        backend = self._backends.get(load.spec.backend, BackendConfig())
        worker = self.workers[worker_id] = Worker(
            worker_id, backend, load, self._spool, self._on_event, returned=self._returned
        )
        task = asyncio.create_task(worker.run(), name=f"worker-{worker_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        log.info("worker starting", worker=worker_id, model=load.spec.name, device=load.device)

    def send(self, worker_id: int, message: Message) -> None:
        if worker := self.workers.get(worker_id):
            worker.send(message)

    def stop(self, worker_id: int) -> None:
        if worker := self.workers.get(worker_id):
            worker.stop(self._stop_timeout_s)

    def kill(self, worker_id: int, reason: str) -> None:
        if worker := self.workers.get(worker_id):
            log.warning("worker killed", worker=worker_id, pid=worker.pid, reason=reason)
            worker.kill(reason)

    async def stop_all(self) -> None:
        """Stop every worker and wait until the last is reaped."""
        for worker_id in list(self.workers):
            self.stop(worker_id)
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def kill_all(self) -> None:
        """Without waiting: the gateway is being forced out."""
        for worker in self.workers.values():
            worker.kill("forced shutdown")

    def _on_event(self, event: Event) -> None:
        if isinstance(event, WorkerDied) and (worker := self.workers.pop(event.worker_id, None)):
            log.info(
                "worker ended",
                worker=worker.id,
                pid=worker.pid,
                model=worker.load.spec.name,
                reason=event.reason,
                stderr=worker.stderr[-5:],
            )
        self._post(event)
