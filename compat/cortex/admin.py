"""`/admin/models` and `/admin/config`: what may be asked, and how models and reloads are shown.

Must not know HTTP, the engine or the configuration file.
"""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from compat.decoding import decode
from compat.openai.answers import encode

Strategy = Literal["alongside", "replace"]


class LoadRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    pinned: bool | None = None
    """Never evicted and never too long idle from now on, until the server ends; null: as it was."""
    wait: bool = True
    """Answer when it is ready, or with what keeps it from that; false: answer at once."""


class UnloadRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    force: bool = False
    """Running and waiting requests fail; otherwise those that run end first."""
    wait: bool = True
    """Answer when its processes are gone, after `timeouts.drain_s` at the latest; false: at once."""


class SwapRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    changes: Raw
    """Settings of the model that are to be other, as in the configuration file: `source`, `parameters` … The
    name stays. A mapping such as `parameters` is replaced whole."""
    strategy: Strategy = "alongside"
    """alongside: the new version loads while the old one serves. replace: the old one is stopped first, for
    where there is no memory for both; requests wait."""


class ReloadRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Swap a model with itself: its weights are read anew."""

    model: str
    strategy: Strategy = "alongside"


class ConfigReloadRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    strategy: Strategy = "alongside"
    """Of the swaps of models that have changed."""


class AdminWorker(Struct, frozen=True, kw_only=True):
    id: int
    pid: int
    version: int
    state: str
    """starting, ready, draining, stopping or killed."""
    device: str
    memory_bytes: int
    """Resident now, its helpers with it."""
    jobs: int
    stage: str
    """How far its load is: weights, warm_up; empty: it does not load."""
    reason: str
    """Why it drains or stops."""


class AdminModel(Struct, frozen=True, kw_only=True):
    """A model as it is now."""

    model: str
    aliases: list[str]
    backend: str
    tasks: list[str]
    source: str
    state: str
    """cold, starting, ready, restarting, failed or unloading."""
    version: int
    """Counts up with every swap."""
    arriving: int
    """The version that is to take its place; 0: none."""
    pinned: bool
    waiting: int
    """Requests that no worker has yet."""
    idle_s: float | None
    """Since it had something to do, seconds; null: it is not loaded, or works."""
    error: str
    stderr: list[str]
    """Last lines of the worker that died last, until one is ready again; secrets are taken out."""
    settings: dict[str, Any]
    """All of them, as in the configuration file."""
    workers: list[AdminWorker]
    """Of all versions."""


class AdminModels(Struct, frozen=True):
    data: list[AdminModel]


class RemovedModel(Struct, frozen=True):
    model: str
    removed: bool


class ConfigReloaded(Struct, frozen=True, kw_only=True):
    """What a reload has done. Models that were added, removed or swapped on request stay as they are unless
    the file says something new of them."""

    added: list[str]
    removed: list[str]
    swapped: list[str]
    changed: list[str]
    """In settings that need no other worker: aliases, replicas, pinned …"""
    failed: dict[str, str]
    """Models that could not be swapped, and why: the version before goes on."""
    needs_restart: list[str]
    """Settings that count only after a restart."""


_load = msgspec.json.Decoder(LoadRequest)
_unload = msgspec.json.Decoder(UnloadRequest)
_swap = msgspec.json.Decoder(SwapRequest)
_reload = msgspec.json.Decoder(ReloadRequest)
_config_reload = msgspec.json.Decoder(ConfigReloadRequest)
_tree = msgspec.json.Decoder(dict[str, Any])


def decode_load(body: bytes) -> LoadRequest:
    """Raises InvalidRequest, as all of these do."""
    return decode(body, _load)


def decode_unload(body: bytes) -> UnloadRequest:
    return decode(body, _unload)


def decode_swap(body: bytes) -> tuple[SwapRequest, dict[str, Any]]:
    """The request and the settings in it."""
    request = decode(body, _swap)
    return request, decode(bytes(request.changes), _tree)


def decode_reload(body: bytes) -> ReloadRequest:
    return decode(body, _reload)


def decode_config_reload(body: bytes) -> ConfigReloadRequest:
    return decode(body, _config_reload)


def decode_spec(body: bytes) -> dict[str, Any]:
    """A model's settings; what they may be, config.validate knows."""
    return decode(body, _tree)


def render(answer: AdminModel | AdminModels | RemovedModel | ConfigReloaded) -> bytes:
    return encode(answer)
