"""Which workers start, and which must leave for them. Pure."""

from gateway.engine import errors
from gateway.engine.admission import RETRY_AFTER_MAX_S
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.events import Command, StartWorker, StopWorker
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.engine.placement import NoRoomFor, Resident, Target, place


def start_missing(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """Start what must be started."""
    if not (model.queue or model.wanted) or len(model.live_workers()) >= model.spec.replicas:
        return []
    if fleet.draining or model.description is None or now < max(model.retry_at, model.failed_until):
        return []
    target = Target(
        model.spec.name,
        model.spec.memory_bytes or model.description.memory_bytes,
        model.spec.device,
        tuple(model.description.device_kinds),
    )
    plan = place(target, [_resident(fleet, worker) for worker in fleet.workers.values()], fleet.devices)
    if isinstance(plan, NoRoomFor):
        return _no_room(fleet, model, plan)
    if plan.evict:
        fleet.wants_room.add(model.spec.name)
        return [_evict(fleet, fleet.workers[worker_id]) for worker_id in plan.evict]
    fleet.wants_room.discard(model.spec.name)
    return [_start(fleet, model, plan.device, target.memory_bytes, now)]


def _start(fleet: Fleet, model: Model, device: str, memory_bytes: int, now: float) -> Command:
    fleet.last_worker_id += 1
    worker = Worker(fleet.last_worker_id, model.spec.name, device, memory_bytes, now)
    fleet.workers[worker.id] = model.workers[worker.id] = worker
    fleet.timers.set(now + fleet.timeouts.load_s, "load", str(worker.id))
    return StartWorker(worker.id, model.spec.name, device)


def _resident(fleet: Fleet, worker: Worker) -> Resident:
    idle = worker.state == "ready" and not worker.busy and not fleet.models[worker.model].queue
    return Resident(worker.id, worker.device, worker.memory_bytes, idle, worker.last_used)


def _evict(fleet: Fleet, worker: Worker) -> Command:
    worker.state = "stopping"
    # It comes back when somebody asks for it; restarting it now would push out the newcomer.
    fleet.models[worker.model].wanted = False
    return StopWorker(worker.id)


def _no_room(fleet: Fleet, model: Model, verdict: NoRoomFor) -> list[Command]:
    if verdict.ever:
        fleet.wants_room.add(model.spec.name)
        return []
    needed, largest = verdict.needed_bytes // 2**20, verdict.largest_budget_bytes // 2**20
    error = errors.NoRoom(
        f"{model.spec.name} needs about {needed} MiB; the largest device allows {largest} MiB.",
        retry_after_s=RETRY_AFTER_MAX_S,
    )
    return fail_queue(fleet, model, error)
