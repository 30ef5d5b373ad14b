"""llama-server's router: `/models`, `/models/load`, `/models/unload`, `/models/sse`, as Open WebUI uses them.

Shapes as its source has them: a model's `status.value` is unloaded, loading, loaded or unloading; loading and
unloading are answered at once, and what comes of it is told by the states. Must not know HTTP or the engine.
"""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from compat.decoding import decode
from compat.openai.answers import encode

RouterStatus = Literal["unloaded", "loading", "loaded", "unloading"]


class RouterRequest(Struct, frozen=True, forbid_unknown_fields=True):
    model: str


class RouterDone(Struct, frozen=True):
    success: Literal[True] = True


class RouterState(Struct, frozen=True, omit_defaults=True):
    value: RouterStatus
    failed: bool = False


class RouterProgress(Struct, frozen=True):
    stages: list[str]
    current: str
    value: float
    """0 to 1 of the stage."""


class RouterChange(Struct, frozen=True):
    status: RouterStatus
    progress: RouterProgress | UnsetType = UNSET


class RouterEvent(Struct, frozen=True):
    """The data of one event of `/models/sse`."""

    model: str
    event: Literal["model_status", "status_change"]
    data: RouterChange


_decoder = msgspec.json.Decoder(RouterRequest)
_STATUS: dict[str, RouterStatus] = {
    "cold": "unloaded",
    "starting": "loading",
    "restarting": "loading",
    "ready": "loaded",
    "failed": "unloaded",
    "unloading": "unloading",
}


def decode_router(body: bytes) -> RouterRequest:
    """Raises InvalidRequest."""
    return decode(body, _decoder)


def router_state(state: str) -> RouterState:
    """A model's state in the router's words."""
    return RouterState(_STATUS.get(state, "unloaded"), state == "failed")


def render_done() -> bytes:
    return encode(RouterDone())


def render_event(model: str, state: str, *, first: bool, stage: str, fraction: float) -> bytes:
    """One event's data; `stage` and `fraction` of a load, empty where none goes on."""
    progress: Any = RouterProgress(["weights", "warm_up"], stage, fraction) if stage else UNSET
    change = RouterChange(router_state(state).value, progress)
    return encode(RouterEvent(model, "model_status" if first else "status_change", change))
