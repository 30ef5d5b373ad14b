"""A new version of a model takes the place of the one that serves. Pure.

`alongside`: the new version loads and warms up while the old one serves, then all jobs go to it at once and
the old one drains. `replace`: the old one drains first, for where there is no memory for both; jobs wait.
Whatever keeps the new version from being ready leaves the old one as it was.
"""

from gateway.engine import errors
from gateway.engine.admission import RETRY_AFTER_MAX_S
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.idle import watch_idleness
from gateway.engine.deciders.removals import let_go
from gateway.engine.deciders.starts import no_room, plan_start
from gateway.engine.deciders.stops import drain_surplus, drain_workers
from gateway.engine.events import Command, FailSwap, SwapAsked, SwitchVersion
from gateway.engine.fleet import Fleet, Model
from gateway.engine.placement import NoRoomFor


def begin_swap(fleet: Fleet, event: SwapAsked, now: float) -> list[Command]:
    name = event.spec.name
    old = fleet.models.get(name)
    error = _refusal(fleet, name, old)
    if old is None or error is not None:
        return [FailSwap(name, event.version, error or _unknown(name))]
    new = fleet.new_version(
        event.spec, event.version, place="arriving", wanted=True, description=event.description
    )
    new.learned_bytes = dict(event.learned_bytes)
    fleet.versions[new.key] = fleet.arriving[name] = new
    if event.only_if_loaded and not old.live_workers():
        return _switch(fleet, new, now)
    verdict = plan_start(fleet, new, now)
    if isinstance(verdict, NoRoomFor) and (event.strategy == "alongside" or not verdict.ever):
        return fail_swap(fleet, new, _no_room_for_both(new, old, verdict), now)
    fleet.timers.set(now + fleet.timeouts.queue_s + fleet.timeouts.load_s, "swap", timer_subject(new))
    commands: list[Command] = []
    if event.strategy == "replace":
        old.held = True
        commands += drain_workers(fleet, old.live_workers(), _replaced_by(new), now)
    return commands + advance(fleet, new, now)


def _refusal(fleet: Fleet, name: str, old: Model | None) -> errors.GatewayError | None:
    if fleet.draining:
        return errors.Draining("The server is shutting down.", retry_after_s=5)
    if old is None:
        return _unknown(name)
    if name in fleet.arriving:
        return errors.Conflict(f"{name} is being swapped already.", code="swap_in_progress")
    return None


def _unknown(name: str) -> errors.GatewayError:
    return errors.ModelNotFound(f"{name} is not served any more.", param="model")


def _no_room_for_both(new: Model, old: Model, verdict: NoRoomFor) -> errors.GatewayError:
    if not verdict.ever:
        return no_room(new, verdict)
    if not old.live_workers():
        message = "other models are busy in the memory that it needs"
    else:
        message = "the version that serves stays in memory meanwhile; strategy 'replace' stops that one first"
    needed = verdict.needed_bytes // 2**20
    return errors.NoRoom(
        f"There is no room for about {needed} MiB of a new version of {new.spec.name}: {message}.",
        retry_after_s=RETRY_AFTER_MAX_S,
    )


def timer_subject(model: Model) -> str:
    return f"{model.spec.name}@{model.version}"


def check_swap(fleet: Fleet, subject: str, now: float) -> list[Command]:
    """The time for a swap is over."""
    for new in list(fleet.arriving.values()):
        if timer_subject(new) == subject:
            waited = fleet.timeouts.queue_s + fleet.timeouts.load_s
            error = errors.ModelFailed(f"The new version was not ready within {waited:g} s.")
            return fail_swap(fleet, new, error, now)
    return []


def take_arrival(fleet: Fleet, new: Model, now: float) -> list[Command]:
    """A worker of it has become ready: switch once it can do what the old version does.

    Where there is no room for as many workers as the old version has, those that are ready take over, and
    the others start when the old ones have left.
    """
    old = fleet.models[new.spec.name]
    needed = min(new.spec.replicas, max(1, len(old.ready_workers())))
    commands: list[Command] = []
    if len(new.ready_workers()) < needed:
        commands = advance(fleet, new, now)
        if new.key in fleet.wants_room or len(new.live_workers()) > len(new.ready_workers()):
            return commands
    return commands + _switch(fleet, new, now)


def _switch(fleet: Fleet, new: Model, now: float) -> list[Command]:
    name = new.spec.name
    old = fleet.models[name]
    del fleet.arriving[name]
    fleet.models[name] = new
    new.place, old.place = "serving", "leaving"
    new.wanted, new.pace, new.left_out = old.wanted, old.pace, old.left_out
    new.load_s = new.load_s or old.load_s
    if new.spec.pinned == old.spec.pinned:
        new.pinned = old.pinned  # it may have been pinned on request
    for worker in new.ready_workers():
        watch_idleness(fleet, worker, now)
    for entry in list(old.queue):
        old.queue.remove(entry)
        new.queue.push(entry)
    old.wanted = False
    commands: list[Command] = [SwitchVersion(name, new.version)]
    commands += drain_workers(fleet, old.live_workers(), _replaced_by(new), now)
    return commands + advance(fleet, new, now) + let_go(fleet, old, now)


def _replaced_by(new: Model) -> str:
    return f"replaced by version {new.version}"


def fail_swap(fleet: Fleet, new: Model, error: errors.GatewayError, now: float) -> list[Command]:
    """The old version goes on; what there is of the new one is stopped."""
    name = new.spec.name
    del fleet.arriving[name]
    new.place, new.wanted, new.never_served = "leaving", False, True
    old = fleet.models[name]
    old.held = False
    for worker in old.workers.values():
        if worker.state == "draining" and worker.stop_reason == _replaced_by(new):
            worker.state, worker.stop_reason = "ready", ""
            watch_idleness(fleet, worker, now)
    commands: list[Command] = [FailSwap(name, new.version, error)]
    commands += drain_surplus(fleet, old, now)
    commands += drain_workers(fleet, new.live_workers(), "the swap has failed", now)
    return commands + let_go(fleet, new, now) + advance(fleet, old, now)
