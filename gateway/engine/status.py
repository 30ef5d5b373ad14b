"""How models and workers are now, for people and for the metrics. Reads the fleet, changes nothing."""

import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from backends.protocol import Description, StepStats
from config.schema import ModelSpec
from gateway.engine.fleet import Fleet, Model
from gateway.engine.worker import Worker as LiveWorker
from gateway.telemetry.metrics import ModelGauges, WorkerGauges


class WorkerStatus(Struct, frozen=True):
    id: int
    pid: int
    state: str
    """starting, ready, draining, stopping or killed."""
    device: str
    version: int = 1
    memory_bytes: int = 0
    """Resident now, its helpers with it; 0 where nobody asked."""
    jobs: int = 0
    stage: str = ""
    """How far its load is."""
    reason: str = ""
    """Why it drains or stops."""


class ModelStatus(Struct, frozen=True):
    """One model for people and for /v1/models."""

    spec: ModelSpec
    state: str
    """cold, starting, ready, restarting, failed or unloading."""
    description: Description | None
    error: str
    created: int
    """Unix time at which the gateway began to serve it, seconds."""
    workers: list[WorkerStatus]
    version: int = 1
    arriving: int = 0
    """The version that is to take its place; 0: none."""
    pinned: bool = False
    waiting: int = 0
    """Jobs that no worker has yet."""
    idle_s: float | None = None
    """Since a worker had something to do; None: it has none, or it works."""
    stderr: Sequence[str] = ()
    """Last lines of the worker that died last, until one is ready again. For administrators only: they may
    hold what users wrote."""


def model_status(
    fleet: Fleet, name: str, live: Mapping[int, LiveWorker], created: int, measure: bool
) -> ModelStatus:
    """`live`: the handles on the processes."""
    now = time.monotonic()
    model = fleet.models[name]
    arriving = fleet.arriving.get(name)
    return ModelStatus(
        model.spec,
        model.state(now),
        model.description,
        model.error.message if model.error else "",
        created,
        _workers(fleet, name, live, measure),
        model.version,
        arriving.version if arriving else 0,
        model.pinned,
        len(model.queue),
        _idle_s(model, now),
        model.last_stderr,
    )


def _workers(fleet: Fleet, name: str, live: Mapping[int, LiveWorker], measure: bool) -> list[WorkerStatus]:
    """Those of all versions."""
    return [
        WorkerStatus(
            worker.id,
            live[worker.id].pid if worker.id in live else 0,
            worker.state,
            worker.device,
            worker.version,
            live[worker.id].memory_bytes() if measure and worker.id in live else 0,
            len(worker.jobs),
            worker.stage if worker.state == "starting" else "",
            worker.stop_reason,
        )
        for worker in fleet.workers.values()
        if worker.model == name
    ]


def _idle_s(model: Model, now: float) -> float | None:
    ready = model.ready_workers()
    if not ready or model.queue or any(worker.busy for worker in ready):
        return None
    return round(now - max(worker.last_used for worker in ready), 3)


def model_gauges(
    fleet: Fleet,
    live: Mapping[int, LiveWorker],
    last_stats: Mapping[int, StepStats],
    sessions: Mapping[str, int],
) -> list[ModelGauges]:
    return [
        _gauges(fleet, model, live, last_stats, sessions.get(name, 0)) for name, model in fleet.models.items()
    ]


def _gauges(
    fleet: Fleet,
    model: Model,
    live: Mapping[int, LiveWorker],
    last_stats: Mapping[int, StepStats],
    sessions: int,
) -> ModelGauges:
    name = model.spec.name
    workers = [worker for worker in fleet.workers.values() if worker.model == name]
    unstarted = sum(not entry.started for worker in workers for entry in worker.jobs.values())
    return ModelGauges(
        name,
        sum(worker.running for worker in workers),
        len(model.queue) + unstarted,
        max((_kv_usage(last_stats.get(worker.id)) for worker in workers), default=0.0),
        [
            WorkerGauges(
                worker.id,
                name,
                worker.device,
                worker.state,
                live[worker.id].memory_bytes() if worker.id in live else 0,
            )
            for worker in workers
        ],
        sessions,
        model.state(time.monotonic()),
        model.version,
        {str(priority): length for priority, length in model.queue.lengths().items()},
    )


def _kv_usage(stats: StepStats | None) -> float:
    return stats.kv_used / stats.kv_total if stats and stats.kv_total else 0.0
