"""What measurements mean: less or more room, memory that is back, more held than there is. Pure."""

from gateway.engine.deciders.room import end_wait, evict, resident
from gateway.engine.events import Command, MemoryMeasured, MemoryReturned, WorkerDied
from gateway.engine.fleet import Fleet, Model, RoomWait, Worker
from gateway.engine.placement import Device, kind_of, regret


def take_memory(fleet: Fleet, event: MemoryMeasured | MemoryReturned, now: float) -> list[Command]:
    if isinstance(event, MemoryReturned):
        fleet.returning.pop(event.worker_id, None)
        fleet.unreturned += not event.in_time
        fleet.room_changed = True
        return []
    return _take_measure(fleet, event, now)


def _take_measure(fleet: Fleet, event: MemoryMeasured, now: float) -> list[Command]:
    fleet.devices = event.devices
    for worker_id, held in event.held.items():
        worker = fleet.workers.get(worker_id)
        if worker is not None and held:
            worker.measured = held
            if len(worker.shares) == 1:  # parts have bytes of their own, which say nothing of the whole
                learned, kind = fleet.version_of(worker).learned_bytes, kind_of(held)
                learned[kind] = max(learned.get(kind, 0), sum(held.values()))
    fleet.room_changed = True
    return [command for device in fleet.devices for command in _relieve(fleet, device, now)]


def review(fleet: Fleet, now: float) -> list[Command]:
    """Let go of claims of models for which nobody waits any more."""
    waiting = [fleet.versions[key] for key in fleet.wants_room]
    idle = [model.key for model in waiting if not (model.queue or model.wanted)]
    if not idle:
        return []
    return [command for key in idle for command in end_wait(fleet, key, now)]


def make_room_again(
    fleet: Fleet, model: Model, worker: Worker, death: WorkerDied, now: float
) -> list[Command]:
    """A load failed for lack of memory: evict what is idle on its devices, for one more try.

    Empty where there is nothing to evict, it was done before, or the model does not load again anyway.
    """
    if model.place == "leaving":
        return []
    if death.kind != "out_of_memory" or worker.state != "starting" or model.cramped:
        model.cramped = False
        return []
    names = {share.device for share in worker.shares}
    others = [other for name in names for other in _evictable(fleet, name, now)]
    idle = {other.id: other for other in others if other.model != worker.model}
    if not idle:
        return []
    model.cramped = True
    fleet.wants_room.setdefault(model.key, RoomWait(now, worker.shares, swaps=True))
    reason = f"evicted because {worker.model} found too little memory"
    return [evict(fleet, other, reason) for other in idle.values()]


def _relieve(fleet: Fleet, device: Device, now: float) -> list[Command]:
    """Others took memory, or models grew: idle ones leave until what is held fits again."""
    holders = [worker for worker in fleet.workers.values() if device.name in worker.measured]
    excess = sum(worker.measured[device.name] for worker in holders) - device.budget_bytes
    excess -= sum(w.measured[device.name] for w in holders if w.state in ("stopping", "killed"))
    commands: list[Command] = []
    for worker in _evictable(fleet, device.name, now):
        if excess <= 0:
            break
        excess -= worker.measured.get(device.name, 0)
        commands.append(evict(fleet, worker, f"evicted because there is less memory on {device.name}"))
    return commands


def _evictable(fleet: Fleet, device: str, now: float) -> list[Worker]:
    """Those that may leave now, the least missed first."""
    seen = [resident(fleet, worker) for worker in fleet.workers.values()]
    found = [r for r in seen if r.idle and now >= r.evictable_at and r.bytes_on(device)]
    return [fleet.workers[r.worker_id] for r in sorted(found, key=lambda r: regret(r, now))]
