"""What is learnt of models, and models that are wanted although no job waits. Pure."""

from backends.protocol import Description
from gateway.engine import recovery
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.ends import fail_queue
from gateway.engine.errors import GatewayError
from gateway.engine.events import Command
from gateway.engine.fleet import Fleet


def take_description(fleet: Fleet, name: str, description: Description, now: float) -> list[Command]:
    model = fleet.models[name]
    model.description = description
    model.error, model.failed_until = None, 0.0  # whatever kept it from being described is mended
    return advance(fleet, model, now)


def want_model(fleet: Fleet, name: str, now: float) -> list[Command]:
    model = fleet.models[name]
    model.wanted = True
    return advance(fleet, model, now)


def break_model(fleet: Fleet, name: str, error: GatewayError, now: float) -> list[Command]:
    model = fleet.models[name]
    model.error, model.failed_until = error, now + recovery.FAILED_COOL_DOWN_S
    return fail_queue(fleet, model, error)
