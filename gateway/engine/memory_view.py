"""What is to be measured of the fleet, and what is shown of its memory. Reads; changes nothing."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from gateway.engine.deciders.room import target_of
from gateway.engine.devices import DeviceState
from gateway.engine.fleet import Fleet, ModelKey, Worker
from gateway.engine.learned import learned_key
from gateway.engine.memory_watch import BUSY_S, IDLE_S, LOADING_S, MemoryWatch, Subject
from gateway.engine.worker import Worker as WorkerHandle
from gateway.telemetry.memory import DeviceMemory, MemoryFigures, ModelMemory
from gateway.weights.located import Located


class HeldShare(Struct, frozen=True):
    """What one worker has of a device."""

    worker_id: int
    model: str
    reserved_bytes: int
    used_bytes: int


class DeviceStatus(Struct, frozen=True):
    """One device, for people."""

    state: DeviceState
    holders: list[HeldShare]

    @property
    def reserved_bytes(self) -> int:
        return sum(held.reserved_bytes for held in self.holders)

    @property
    def used_bytes(self) -> int:
        return sum(held.used_bytes for held in self.holders)


def subjects(
    fleet: Fleet, live: Mapping[int, WorkerHandle], located: Callable[[ModelKey], Located]
) -> list[Subject]:
    """Workers that live, and dead ones whose memory on GPUs is not back, as MemoryWatch measures them."""
    alive = [
        Subject(
            worker.id,
            live[worker.id].pid,
            {share.device: share.memory_bytes for share in worker.shares},
            _period_s(worker),
            worker.model,
            _learned_key(located((worker.model, worker.version))),
        )
        for worker in fleet.workers.values()
        if worker.id in live
    ]
    return [*alive, *(_gone(worker) for worker in fleet.returning.values() if worker.device != "cpu")]


def _gone(worker: Worker) -> Subject:
    """It counts as taken until it is back: seen as other processes' use too, it would count twice."""
    held = {share.device: share.memory_bytes for share in worker.held}
    return Subject(worker.id, 0, held, LOADING_S, worker.model, learned_key="")


def _learned_key(located: Located) -> str:
    return learned_key(located.spec, located.fingerprint)


def _period_s(worker: Worker) -> float:
    if worker.state == "starting":
        return LOADING_S
    return BUSY_S if worker.busy else IDLE_S


def devices(fleet: Fleet, watch: MemoryWatch) -> list[DeviceStatus]:
    workers = [*fleet.workers.values(), *fleet.returning.values()]
    return [
        DeviceStatus(
            state,
            [
                HeldShare(worker.id, worker.model, share.memory_bytes, worker.measured.get(share.device, 0))
                for worker in workers
                for share in worker.held
                if share.device == state.name
            ],
        )
        for state in watch.states
    ]


def figures(fleet: Fleet, watch: MemoryWatch) -> MemoryFigures:
    return MemoryFigures(
        [
            DeviceMemory(
                status.state.name,
                status.state.total_bytes,
                status.state.budget_bytes,
                status.reserved_bytes,
                status.used_bytes,
                status.state.others_bytes,
                status.state.utilisation,
            )
            for status in devices(fleet, watch)
        ],
        [_model(fleet, name, watch) for name in fleet.models],
        fleet.unreturned,
    )


def _model(fleet: Fleet, name: str, watch: MemoryWatch) -> ModelMemory:
    model = fleet.models[name]
    workers = [worker for worker in fleet.workers.values() if worker.model == name]
    measured = sum(held_bytes(worker, watch) for worker in workers)
    predicted = target_of(model).most_needed if model.description is not None else 0
    return ModelMemory(name, predicted, measured, model.swaps, model.evictions)


def held_bytes(worker: Worker, watch: MemoryWatch) -> int:
    """On its devices and, of one on GPUs, on the host too."""
    host = watch.memory[worker.id].bytes if worker.id in watch.memory else 0
    return host + sum(size for device, size in worker.measured.items() if device != "cpu")
