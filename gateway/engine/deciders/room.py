"""Who holds memory, who waits for it, in what order, and who must make room. Pure.

The first that waits has the first claim on what becomes free. Whoever comes later and finds room beside that
claim starts at once; so nobody overtakes for ever, and two that wait never wait for each other. Busy models
are waited for; after `placement.yield_after_s`, and when no job of theirs has waited for longer, they take no
new jobs and leave when theirs have ended.
"""

from collections.abc import Sequence
from math import floor, inf

from gateway.engine.deciders.dispatch import send_waiting
from gateway.engine.deciders.stops import stop_worker
from gateway.engine.events import Command
from gateway.engine.fleet import Fleet, Model, ModelKey, RoomWait, Worker
from gateway.engine.placement import NoRoomFor, Plan, Resident, Share, Target

_LOOK_AGAIN_S = 1.0
"""How often it is looked whether the jobs that go before others' are with workers."""


def target_of(model: Model) -> Target:
    """Raises AssertionError for a model that is not described."""
    spec, description = model.spec, model.description
    assert description is not None
    return Target(
        spec.name,
        spec.memory_bytes or description.memory_bytes,
        version=model.version,
        pinned=spec.device,
        kinds=tuple(description.device_kinds),
        splits=description.splits,
        exclusive_group=spec.exclusive_group,
        exclusive_device=spec.exclusive_device,
        cramped=model.cramped,
        learned_bytes={} if spec.memory_bytes else model.learned_bytes,
    )


def residents(fleet: Fleet, model: Model) -> list[Resident]:
    """What is taken, as `model` sees it: by workers, by dead ones, and by claims of those ahead of it."""
    victims = yielding(fleet)
    held = [resident(fleet, worker, yields=worker.id in victims) for worker in fleet.workers.values()]
    held += [_gone(fleet, worker) for worker in fleet.returning.values()]
    for key, wait in fleet.wants_room.items():
        if key == model.key:
            break
        if wait.shares:
            held.append(_claim(fleet.versions[key], wait, held))
    return held


def _gone(fleet: Fleet, worker: Worker) -> Resident:
    """A dead worker whose memory is not back."""
    model = fleet.versions.get((worker.model, worker.version))
    return Resident(
        worker.id,
        worker.model,
        worker.held,
        idle=False,
        last_used=0.0,
        leaving=True,
        version=worker.version,
        yielding=True,
        exclusive_group=model.spec.exclusive_group if model else "",
        exclusive_device=model.spec.exclusive_device if model else False,
    )


def _claim(model: Model, wait: RoomWait, held: Sequence[Resident]) -> Resident:
    """What it needs beside the memory of those that will leave for it."""
    leaving = [holder for holder in held if holder.worker_id in wait.counts_on]
    beside = [
        Share(share.device, share.memory_bytes - sum(holder.bytes_on(share.device) for holder in leaving))
        for share in wait.shares
    ]
    return Resident(
        0,
        model.spec.name,
        tuple(Share(share.device, max(0, share.memory_bytes)) for share in beside),
        idle=False,
        last_used=inf,
        evictable_at=inf,
        exclusive_group=model.spec.exclusive_group,
        exclusive_device=model.spec.exclusive_device,
    )


def resident(fleet: Fleet, worker: Worker, *, yields: bool = False) -> Resident:
    model = fleet.version_of(worker)
    swapping = worker.model in fleet.arriving  # while a model is swapped both versions stay
    has_work = worker.busy or (bool(model.queue) and not yields)
    ready_at = worker.ready_at or worker.started_at + model.load_s
    return Resident(
        worker.id,
        worker.model,
        worker.held,
        idle=worker.state == "ready" and not has_work and not swapping,
        last_used=worker.last_used,
        load_s=model.load_s,
        evictable_at=inf if model.pinned and not swapping else ready_at + fleet.placement.min_residency_s,
        leaving=worker.state in ("draining", "stopping", "killed"),
        version=worker.version,
        yielding=yields or worker.state in ("stopping", "killed"),
        exclusive_group=model.spec.exclusive_group,
        exclusive_device=model.spec.exclusive_device,
    )


def yielding(fleet: Fleet) -> frozenset[int]:
    """Workers that take no new jobs because somebody waits for their memory."""
    if not fleet.wants_room:
        return frozenset()
    return frozenset(worker_id for wait in fleet.wants_room.values() for worker_id in wait.victims)


def evict(fleet: Fleet, worker: Worker, reason: str) -> Command:
    """`reason` is for people."""
    model = fleet.version_of(worker)
    model.evictions += 1
    # It comes back when somebody asks for it; restarting it now would push out the newcomer.
    model.wanted = False
    return stop_worker(worker, reason)


def wait_for_plan(fleet: Fleet, model: Model, plan: Plan, now: float) -> list[Command]:
    """It starts when those who must go are gone."""
    wait = fleet.wants_room.setdefault(model.key, RoomWait(now))
    wait.shares, wait.counts_on = plan.shares, frozenset((*plan.evict, *plan.awaited))
    wait.swaps = wait.swaps or bool(plan.evict)
    reason = f"evicted to make room for {model.spec.name}"
    return [evict(fleet, fleet.workers[worker_id], reason) for worker_id in plan.evict]


def wait_for_busy(fleet: Fleet, model: Model, verdict: NoRoomFor, now: float) -> list[Command]:
    """It starts when those in its way have ended their work, or may be evicted at last."""
    wait = fleet.wants_room.setdefault(model.key, RoomWait(now))
    # A model that nobody asks for yet waits for others to fall idle, and holds up nobody.
    wait.shares = verdict.shares if model.queue else ()
    wait.counts_on = frozenset(verdict.in_the_way)
    before, wait.victims = wait.victims, frozenset()
    workers = [fleet.workers[worker_id] for worker_id in verdict.in_the_way if worker_id in fleet.workers]
    loading = any(worker.state == "starting" for worker in workers)
    if loading or not model.queue or any(worker.sessions for worker in workers):
        _wake(fleet, model, verdict.evictable_at, now)  # sessions may last: nobody takes turns with them
    else:
        _take_turn(fleet, model, workers, verdict, now)
    return _resume(fleet, before - wait.victims, now)


def _take_turn(fleet: Fleet, model: Model, workers: Sequence[Worker], verdict: NoRoomFor, now: float) -> None:
    """Let these yield once its turn has come; where that does not help in time they have a turn again."""
    wait = fleet.wants_room[model.key]
    if wait.turn_ends_at and now >= wait.turn_ends_at:
        wait.since, wait.turn_ends_at = now, 0.0
    # Whoever has just come has as long as whoever was there when the waiting began.
    since = max([wait.since, *(worker.ready_at for worker in workers)])
    due = max(since + fleet.placement.yield_after_s, verdict.evictable_at)
    if now < due:
        _wake(fleet, model, due, now)
        return
    if any(_goes_before(fleet.version_of(worker), model, now) for worker in workers):
        _wake(fleet, model, floor(now) + _LOOK_AGAIN_S, now)  # all who wait at once: each look is dear
        return
    wait.victims = frozenset(verdict.in_the_way)
    wait.turn_ends_at = wait.turn_ends_at or now + fleet.timeouts.queue_s
    _wake(fleet, model, wait.turn_ends_at, now)


def _goes_before(holder: Model, model: Model, now: float) -> bool:
    """The next job of `holder` came before that of `model`, and is of no lower class."""
    its, own = holder.queue.first(now), model.queue.first(now)
    if its is None or own is None:
        return False
    return its.arrived_at < own.arrived_at and its.level >= own.level


def _wake(fleet: Fleet, model: Model, at: float, now: float) -> None:
    """Look again then."""
    wait = fleet.wants_room[model.key]
    if now < at != wait.wake_at:
        wait.wake_at = at
        fleet.timers.set(at, "room", model.spec.name)


def end_wait(fleet: Fleet, key: ModelKey, now: float) -> list[Command]:
    """Whoever was to yield to it goes on, and those behind it are looked at again."""
    wait = fleet.wants_room.pop(key, None)
    if wait is None:
        return []
    fleet.room_changed = True
    return _resume(fleet, wait.victims, now)


def _resume(fleet: Fleet, released: frozenset[int], now: float) -> list[Command]:
    still = yielding(fleet)
    keys = [
        fleet.version_of(fleet.workers[worker_id]).key
        for worker_id in sorted(released - still)
        if worker_id in fleet.workers
    ]
    models = [fleet.versions[key] for key in dict.fromkeys(keys)]
    return [command for model in models for command in send_waiting(fleet, model, now, excluded=still)]
