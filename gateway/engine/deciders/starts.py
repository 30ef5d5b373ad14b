"""Which workers start, and which must leave for them. Pure."""

from gateway.engine import errors
from gateway.engine.admission import RETRY_AFTER_MAX_S
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.deciders.stops import stop_worker
from gateway.engine.events import Command, StartWorker
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.engine.placement import NoRoomFor, Plan, Resident, Target, place
from gateway.engine.recovery import FAILED_COOL_DOWN_S


def start_missing(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """Start what must be started."""
    if not (model.queue or model.wanted):
        fleet.wants_room.discard(model.key)
        return []
    if model.held or model.place == "leaving" or fleet.draining:
        return []
    if len(model.live_workers()) >= model.spec.replicas or model.description is None:
        return []
    if now < max(model.retry_at, model.failed_until):
        return []
    plan = plan_start(fleet, model)
    if isinstance(plan, NoRoomFor):
        return _no_room(fleet, model, plan, now)
    if plan.evict:
        fleet.wants_room.add(model.key)
        return [_evict(fleet, fleet.workers[worker_id], model) for worker_id in plan.evict]
    fleet.wants_room.discard(model.key)
    return [_start(fleet, model, plan.device, now)]


def plan_start(fleet: Fleet, model: Model) -> Plan | NoRoomFor:
    """Where one more worker of it would go now. Its description must be known."""
    assert model.description is not None
    target = Target(
        model.spec.name, _memory_bytes(model), model.spec.device, tuple(model.description.device_kinds)
    )
    return place(target, [_resident(fleet, worker) for worker in fleet.workers.values()], fleet.devices)


def no_room(model: Model, verdict: NoRoomFor) -> errors.NoRoom:
    """What a caller is told of a model that no device can ever take."""
    needed, largest = verdict.needed_bytes // 2**20, verdict.largest_budget_bytes // 2**20
    return errors.NoRoom(
        f"{model.spec.name} needs about {needed} MiB; the largest device allows {largest} MiB.",
        retry_after_s=RETRY_AFTER_MAX_S,
    )


def _memory_bytes(model: Model) -> int:
    return model.spec.memory_bytes or (model.description.memory_bytes if model.description else 0)


def _start(fleet: Fleet, model: Model, device: str, now: float) -> Command:
    fleet.last_worker_id += 1
    worker = Worker(
        fleet.last_worker_id, model.spec.name, device, _memory_bytes(model), now, version=model.version
    )
    fleet.workers[worker.id] = model.workers[worker.id] = worker
    fleet.timers.set(now + fleet.timeouts.load_s, "load", str(worker.id))
    return StartWorker(worker.id, model.spec.name, device, model.version)


def _resident(fleet: Fleet, worker: Worker) -> Resident:
    model = fleet.version_of(worker)
    kept = model.pinned or worker.model in fleet.arriving  # while a model is swapped both versions stay
    idle = worker.state == "ready" and not worker.busy and not model.queue and not kept
    return Resident(worker.id, worker.device, worker.memory_bytes, idle, worker.last_used)


def _evict(fleet: Fleet, worker: Worker, newcomer: Model) -> Command:
    # It comes back when somebody asks for it; restarting it now would push out the newcomer.
    fleet.version_of(worker).wanted = False
    return stop_worker(worker, f"evicted to make room for {newcomer.spec.name}")


def _no_room(fleet: Fleet, model: Model, verdict: NoRoomFor, now: float) -> list[Command]:
    if verdict.ever:
        fleet.wants_room.add(model.key)
        return []
    model.error, model.failed_until = no_room(model, verdict), now + FAILED_COOL_DOWN_S
    return fail_queue(fleet, model, model.error, now)
