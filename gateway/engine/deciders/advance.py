"""What can go on for a model now: jobs to its workers, workers for its jobs. Pure."""

from gateway.engine.deciders.dispatch import send_waiting
from gateway.engine.deciders.room import yielding
from gateway.engine.deciders.starts import start_missing
from gateway.engine.events import Command
from gateway.engine.fleet import Fleet, Model


def advance(fleet: Fleet, model: Model, now: float) -> list[Command]:
    """To be called after whatever may have made room, work or a worker for it."""
    commands = send_waiting(fleet, model, now, excluded=yielding(fleet))
    return commands + start_missing(fleet, model, now)


def advance_waiting(fleet: Fleet, now: float) -> list[Command]:
    """The models that wait for others to leave, in order of arrival."""
    waiting = [fleet.versions[key] for key in list(fleet.wants_room)]
    return [command for model in waiting for command in advance(fleet, model, now)]
