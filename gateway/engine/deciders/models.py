"""What is learnt of models, and what is wanted of them although no job waits. Pure."""

from config.schema import ModelSpec
from gateway.engine import errors, recovery
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.deciders.idle import watch_idleness
from gateway.engine.deciders.removals import remove_model
from gateway.engine.deciders.stops import abort_running, drain_surplus, drain_workers
from gateway.engine.deciders.swaps import fail_swap
from gateway.engine.events import Command, ModelDescribed, ModelWanted, UnloadAsked
from gateway.engine.fleet import Fleet, Model

_UNLOADED = "unloaded on request"


def take_description(fleet: Fleet, event: ModelDescribed, now: float) -> list[Command]:
    model = fleet.models.get(event.model)
    if model is None:
        return []
    model.description = event.description
    model.learned_bytes = dict(event.learned_bytes)
    model.error, model.failed_until = None, 0.0  # whatever kept it from being described is mended
    return advance(fleet, model, now)


def want_model(fleet: Fleet, event: ModelWanted, now: float) -> list[Command]:
    model = fleet.models.get(event.model)
    if model is None:
        return []
    model.wanted = True
    if event.pinned is not None:
        model.pinned = event.pinned
    model.gentle = event.gently and not model.pinned
    if event.at_once:  # a person asks: do not wait until a failure is forgotten
        model.retry_at = model.failed_until = 0.0
        model.error = None
    for worker in model.ready_workers():
        watch_idleness(fleet, worker, now)
    return advance(fleet, model, now)


def break_model(fleet: Fleet, name: str, error: errors.GatewayError, now: float) -> list[Command]:
    model = fleet.models.get(name)
    if model is None:
        return []
    model.error, model.failed_until = error, now + recovery.FAILED_COOL_DOWN_S
    return fail_queue(fleet, model, error, now)


def unload_model(fleet: Fleet, event: UnloadAsked, now: float) -> list[Command]:
    """Free its memory. Running jobs end first, unless forced; jobs that wait, and come, load it again."""
    model = fleet.models.get(event.model)
    if model is None:
        return []
    model.wanted = False
    for worker in model.workers.values():
        if worker.state == "draining":
            worker.stop_reason = _UNLOADED  # whatever it was: it does not come back if a swap fails
    commands: list[Command] = []
    if event.force:
        error = errors.ModelUnloaded(f"{model.spec.name} was unloaded.", retry_after_s=1)
        commands += fail_queue(fleet, model, error, now)
        commands += _abort_all(fleet, model, error, now)
    # One that loads for jobs that wait would only be started again.
    loaded = model.ready_workers() if model.queue else model.live_workers()
    commands += drain_workers(fleet, loaded, _UNLOADED, now)
    return commands + advance(fleet, model, now)


def _abort_all(fleet: Fleet, model: Model, error: errors.GatewayError, now: float) -> list[Command]:
    commands: list[Command] = []
    for worker in model.workers.values():
        for entry in list(worker.jobs.values()):
            commands += abort_running(fleet, worker, entry, error, now)
    return commands


def add_model(fleet: Fleet, spec: ModelSpec, version: int, now: float) -> list[Command]:
    """One more, under a name that is free; what waits for one that leaves under it goes to this one."""
    model = fleet.new_version(spec, version)
    for earlier in [version for version in fleet.versions.values() if version.spec.name == spec.name]:
        for entry in list(earlier.queue):
            earlier.queue.remove(entry)
            model.queue.push(entry)
    fleet.models[spec.name] = fleet.versions[model.key] = model
    return []


def drop_model(fleet: Fleet, name: str, now: float) -> list[Command]:
    commands: list[Command] = []
    if (arriving := fleet.arriving.get(name)) is not None:
        removed = errors.ModelNotFound(f"{name} was removed while it was swapped.", param="model")
        commands += fail_swap(fleet, arriving, removed, now)
    fleet.room_changed = True
    return commands + remove_model(fleet, name, now)


def change_model(fleet: Fleet, spec: ModelSpec, now: float) -> list[Command]:
    """Settings that its workers do not know."""
    model = fleet.models.get(spec.name)
    if model is None:
        return []
    if spec.pinned != model.spec.pinned:
        model.pinned = spec.pinned
    model.spec = spec
    fleet.room_changed = True  # it may be pinned no more, or share a device from now on
    for worker in model.ready_workers():
        watch_idleness(fleet, worker, now)
    return drain_surplus(fleet, model, now) + advance(fleet, model, now)
