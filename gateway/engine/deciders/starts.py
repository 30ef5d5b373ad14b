"""Which workers start, and what happens where there is no room for them. Pure."""

from gateway.engine import errors
from gateway.engine.admission import RETRY_AFTER_MAX_S
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.deciders.room import end_wait, residents, target_of, wait_for_busy, wait_for_plan
from gateway.engine.events import Command, StartWorker
from gateway.engine.fleet import Fleet, Model, RoomWait, Worker
from gateway.engine.placement import NoRoomFor, Plan, place
from gateway.engine.pressure import Step
from gateway.engine.recovery import FAILED_COOL_DOWN_S

_OTHERS_S = 10.0
"""How long jobs wait for other processes to give memory back: it may be a short rise."""


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
    if verdict.held:
        message += "models that are pinned leave no room for it."
    else:
        beside = ", beside what other processes hold" if verdict.crowded else ""
        message += f"the largest device allows {largest} MiB{beside}."
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
    passing = verdict.crowded or verdict.held  # it may be over at any moment
    ended: list[Command] = []
    if verdict.crowded and model.queue:
        ended = _wait_unclaimed(fleet, model, now)
        if now < fleet.wants_room[model.key].since + _OTHERS_S:
            return ended
    model.error = error = no_room(model, verdict)
    if passing and model.wanted:
        ended += _wait_unclaimed(fleet, model, now)
    else:
        ended += end_wait(fleet, model.key, now)
    if not passing:
        model.failed_until = now + FAILED_COOL_DOWN_S
        if model.wanted:  # no job may come that would try it again
            fleet.timers.set(model.failed_until, "retry", model.spec.name)
    return [*ended, *fail_queue(fleet, model, error, now)]


def _wait_unclaimed(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """It is looked at whenever room has changed, and meanwhile holds up nobody."""
    wait = fleet.wants_room.get(model.key)
    if wait is not None and not wait.shares and not wait.victims:
        return []
    commands = end_wait(fleet, model.key, now)
    fleet.wants_room[model.key] = RoomWait(now, swaps=wait is not None and wait.swaps)
    fleet.timers.set(now + _OTHERS_S, "room", model.spec.name)
    return commands
