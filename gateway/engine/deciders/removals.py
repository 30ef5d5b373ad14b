"""Models that are served no more: what waits and runs still ends, then their workers stop. Pure."""

from gateway.engine import errors
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.deciders.room import end_wait
from gateway.engine.deciders.stops import drain_workers
from gateway.engine.events import Command, ForgetVersion
from gateway.engine.fleet import Fleet, Model

REMOVED = "removed from the configuration"


def remove_model(fleet: Fleet, name: str, now: float) -> list[Command]:
    """Its swap, if there is one, must have been ended before."""
    model = fleet.models.pop(name, None)
    if model is None:
        return []
    model.place, model.wanted = "leaving", False
    return let_go(fleet, model, now)


def let_go_of_all(fleet: Fleet, now: float) -> list[Command]:
    """The last job that waited for one of them may have ended wherever jobs end."""
    if len(fleet.versions) == len(fleet.models) + len(fleet.arriving):
        return []  # nearly always: none leaves
    leaving = [model for model in fleet.versions.values() if model.place == "leaving"]
    return [command for model in leaving for command in let_go(fleet, model, now)]


def let_go(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """Go on with the departure of a version: what waits for it first, then its workers, then itself."""
    if model.place != "leaving" or model.key not in fleet.versions:
        return []
    commands: list[Command] = []
    if model.queue and not model.live_workers():
        gone = errors.ModelNotFound(f"{model.spec.name} was removed while the request waited.", param="model")
        commands += fail_queue(fleet, model, gone, now)
    if not model.queue:
        commands += drain_workers(fleet, list(model.workers.values()), REMOVED, now)
    if not model.workers:
        commands += end_wait(fleet, model.key, now)
        del fleet.versions[model.key]
        commands.append(ForgetVersion(*model.key))
    return commands
