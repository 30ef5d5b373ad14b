"""Which workers start, and what happens where there is no room for them. Pure."""

from gateway.engine import errors
from gateway.engine.admission import RETRY_AFTER_MAX_S
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.deciders.room import end_wait, residents, target_of, wait_for_busy, wait_for_plan
from gateway.engine.events import Command, StartWorker
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.engine.placement import NoRoomFor, Plan, place
from gateway.engine.pressure import Step
from gateway.engine.recovery import FAILED_COOL_DOWN_S


def start_missing(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """Start what must be started."""
    if not (model.queue or model.wanted) or len(model.live_workers()) >= model.spec.replicas:
        return end_wait(fleet, model.key, now)
    if model.held or model.place == "leaving" or fleet.draining or model.description is None:
        return end_wait(fleet, model.key, now)
    if now < max(model.retry_at, model.failed_until) or fleet.pressure.step is not Step.CALM:
        return end_wait(fleet, model.key, now)
    verdict = plan_start(fleet, model, now)
    if model.gentle and not model.queue and _crowded(verdict):
        model.wanted = bool(model.live_workers())
        model.left_out = not model.wanted
        return end_wait(fleet, model.key, now)
    if isinstance(verdict, NoRoomFor):
        return _no_room(fleet, model, verdict, now)
    if verdict.evict or verdict.awaited:
        return wait_for_plan(fleet, model, verdict, now)
    return _start(fleet, model, verdict, now)


def _crowded(verdict: Plan | NoRoomFor) -> bool:
    """Others would have to leave."""
    return verdict.ever if isinstance(verdict, NoRoomFor) else bool(verdict.evict)


def plan_start(fleet: Fleet, model: Model, now: float) -> Plan | NoRoomFor:
    """Where one more worker of it would go now. Its description must be known."""
    return place(target_of(model), residents(fleet, model), fleet.devices, now)


def no_room(model: Model, verdict: NoRoomFor) -> errors.NoRoom:
    """What a caller is told of a model that cannot be loaded however long one waits."""
    needed, largest = verdict.needed_bytes // 2**20, verdict.largest_budget_bytes // 2**20
    message = f"{model.spec.name} needs about {needed} MiB; "
    message += (
        "models that are pinned leave no room for it."
        if verdict.held
        else f"the largest device allows {largest} MiB."
    )
    return errors.NoRoom(message, retry_after_s=RETRY_AFTER_MAX_S)


def _start(fleet: Fleet, model: Model, plan: Plan, now: float) -> list[Command]:
    name = model.spec.name
    fleet.last_worker_id += 1
    worker = Worker(fleet.last_worker_id, name, plan.shares, now, version=model.version)
    worker.swaps = model.key in fleet.wants_room and fleet.wants_room[model.key].swaps
    fleet.workers[worker.id] = model.workers[worker.id] = worker
    fleet.timers.set(now + fleet.timeouts.load_s, "load", str(worker.id))
    split = plan.shares if len(plan.shares) > 1 else ()
    start = StartWorker(worker.id, name, plan.device, model.version, split)
    return [start, *end_wait(fleet, model.key, now)]


def _no_room(fleet: Fleet, model: Model, verdict: NoRoomFor, now: float) -> list[Command]:
    if model.live_workers():
        return []  # one more replica is no reason to hold up others
    if verdict.ever:
        return wait_for_busy(fleet, model, verdict, now)
    model.error = error = no_room(model, verdict)
    if not verdict.held:
        model.failed_until = now + FAILED_COOL_DOWN_S
    ended = end_wait(fleet, model.key, now)
    return [*ended, *fail_queue(fleet, model, error, now)]
