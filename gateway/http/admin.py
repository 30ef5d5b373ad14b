"""`/admin/models` and `/admin/config`: models come, go, load and change while the server runs.

Owns the translation between these routes and the engine's lifecycle. Every route here needs a key with the
scope `admin` where there are keys.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from compat.cortex.admin import (
    AdminModel,
    AdminModels,
    AdminWorker,
    ConfigReloaded,
    ConfigReloadRequest,
    LoadRequest,
    ReloadRequest,
    RemovedModel,
    SwapRequest,
    UnloadRequest,
    decode_config_reload,
    decode_load,
    decode_reload,
    decode_spec,
    decode_swap,
    decode_unload,
    render,
)
from config.added import drop_added, keep_added
from config.errors import ConfigError
from config.one_model import model_from
from config.schema import ModelSpec
from gateway.engine.bulletin import ModelEvent
from gateway.engine.errors import BadRequest, Conflict, StorageFailed
from gateway.engine.status import ModelStatus
from gateway.http.admin_events import ModelEventStream, event_data
from gateway.http.answer import Answer
from gateway.http.auth import ADMIN
from gateway.http.body import read_json
from gateway.http.openapi.operation import documented
from gateway.http.services import Services
from gateway.reloading import Reloaded

_MODEL = {"model": "Name or alias; it may hold slashes."}
_PERSIST = {
    "persist": "true: also keep it over restarts, in a file beside the configuration's (`my.added.yaml`)."
}
_ACCEPTED = 202
A = TypeVar("A")
R = TypeVar("R")
_admin = partial(documented, tag="admin")


def admin_routes(services: Services) -> list[HTTPRouteHandler]:
    return [*_shown(services), *_asked(services), *_changed(services)]


def _shown(services: Services) -> list[HTTPRouteHandler]:
    engine = services.engine

    @get("/admin/models", opt=ADMIN | _admin(summary="Every model as it is now", answer=AdminModels))
    async def show_models() -> ASGIApp:
        statuses = [engine.model(spec.name, measure=True) for spec in engine.specs]
        return Answer(render(AdminModels([_shown_model(status) for status in statuses])))

    @get(
        "/admin/models/events",
        opt=ADMIN
        | _admin(
            summary="What happens to models",
            description="First the state of every model, then loads with their progress, unloads, deaths, "
            "swaps and changes as they happen.",
            media="text/event-stream",
            stream=ModelEvent,
        ),
    )
    async def watch_models() -> ASGIApp:
        return ModelEventStream(engine.watch(), event_data, services.config.timeouts)

    @get(
        "/admin/models/{model:path}",
        opt=ADMIN | _admin(summary="One model as it is now", answer=AdminModel, path_parameters=_MODEL),
    )
    async def show_model(model: FromPath[str]) -> ASGIApp:
        return _state_of(services, engine.resolve(model.removeprefix("/")).name)

    return [show_models, watch_models, show_model]


def _asked(services: Services) -> list[HTTPRouteHandler]:
    engine, config = services.engine, services.config

    @post(
        "/admin/models/load",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Load a model and keep it",
            request=LoadRequest,
            example={"model": "whisper-1"},
            answer=AdminModel,
        ),
    )
    async def load_model(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, config, decode_load)
        name = engine.resolve(body.model).name
        await engine.life.load(name, pinned=body.pinned, wait=body.wait)
        return _state_of(services, name, done=body.wait)

    @post(
        "/admin/models/unload",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Free a model's memory",
            description="202: requests that it had begun still run, its memory is freed when they end. "
            "The next request loads it again.",
            request=UnloadRequest,
            example={"model": "whisper-1"},
            answer=AdminModel,
            others={202: AdminModel},
        ),
    )
    async def unload_model(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, config, decode_unload)
        name = engine.resolve(body.model).name
        done = await engine.life.unload(name, force=body.force, wait=body.wait)
        return _state_of(services, name, done=done)

    @post(
        "/admin/models/swap",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Serve a new version of a model under its name",
            description="Answers when requests go to the new version, or with why they do not: the version "
            "before then goes on. 503 `insufficient_memory`: there is no room for both, see `strategy`.",
            request=SwapRequest,
            example={"model": "gpt-4o-mini", "changes": {"defaults": {"temperature": 0.2}}},
            answer=AdminModel,
        ),
    )
    async def swap_model(request: Request[Any, Any, Any]) -> ASGIApp:
        body, changes = await read_json(request, config, decode_swap)
        spec = engine.resolve(body.model)
        if changes.get("name", spec.name) != spec.name:
            raise BadRequest("A swap keeps the name of the model.", param="changes.name")
        new = _spec(services, msgspec.to_builtins(spec) | changes, spec.name, "changes.")
        await engine.life.swap(new, body.strategy)
        return _state_of(services, spec.name)

    @post(
        "/admin/models/reload",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Read a model's weights anew, without a pause",
            request=ReloadRequest,
            example={"model": "gpt-4o-mini"},
            answer=AdminModel,
        ),
    )
    async def reload_model(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, config, decode_reload)
        name = engine.resolve(body.model).name
        await engine.life.reload(name, body.strategy)
        return _state_of(services, name)

    return [load_model, unload_model, swap_model, reload_model]


def _changed(services: Services) -> list[HTTPRouteHandler]:
    engine, config = services.engine, services.config
    changing = asyncio.Lock()
    """Held from the look at what is served to its change: a file is written meanwhile."""

    @post(
        "/admin/models",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Serve one more model",
            description="The body is a model as in the configuration file, and is checked like one.",
            query=_PERSIST,
            request=ModelSpec,
            example={
                "name": "second",
                "backend": "llama_cpp",
                "tasks": ["generate"],
                "source": "/models/a.gguf",
            },
            answer=AdminModel,
        ),
    )
    async def add_model(request: Request[Any, Any, Any]) -> ASGIApp:
        kept_in = _persist(services, request)
        spec = _spec(services, await read_json(request, config, decode_spec))
        version, description = await engine.life.describe_next(spec)
        async with changing:
            # Somebody may have taken the name while the weights were looked at.
            _spec(services, msgspec.to_builtins(spec))
            if kept_in is not None:
                await _stored(keep_added, kept_in, msgspec.to_builtins(spec))
            engine.life.add(spec, version, description)
        if spec.preload:
            await engine.life.load(spec.name, wait=False)
        return _state_of(services, spec.name)

    @delete(
        "/admin/models/{model:path}",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Serve a model no more",
            description="What it has begun and what waits for it is still answered. The configuration file "
            "is not changed: a restart brings back what stands there.",
            query=_PERSIST,
            answer=RemovedModel,
            path_parameters=_MODEL,
        ),
    )
    async def remove_model(model: FromPath[str], request: Request[Any, Any, Any]) -> ASGIApp:
        kept_in = _persist(services, request)
        async with changing:
            name = engine.resolve(model.removeprefix("/")).name
            if kept_in is not None and not await _stored(drop_added, kept_in, name):
                raise Conflict(
                    f"{name} does not stand among the added models; if it stands in {kept_in.name}, take it "
                    "out there and reload the configuration.",
                    param="persist",
                )
            engine.life.remove(name)
        return Answer(render(RemovedModel(name, removed=True)))

    @post(
        "/admin/config/reload",
        status_code=200,
        opt=ADMIN
        | _admin(
            summary="Read the configuration file anew",
            description="Models that are new in it are served, changed ones swapped, those that are gone "
            "from it drained. A file with a fault in it changes nothing: 400 with every fault.",
            request=ConfigReloadRequest,
            example={"strategy": "alongside"},
            answer=ConfigReloaded,
        ),
    )
    async def reload_config(request: Request[Any, Any, Any]) -> ASGIApp:
        body = await read_json(request, config, decode_config_reload)
        return Answer(render(_reloaded(await services.reloader.reload(body.strategy))))

    return [add_model, remove_model, reload_config]


def _persist(services: Services, request: Request[Any, Any, Any]) -> Path | None:
    """The configuration file beside which the change is to be kept; None: it is not to be kept."""
    asked = request.query_params.get("persist", "false")
    if asked not in ("true", "false"):
        raise BadRequest("'persist' is true or false.", param="persist")
    if asked == "false":
        return None
    if services.reloader.file.path is None:
        raise BadRequest("Start the server with --config to keep models beside that file.", param="persist")
    return services.reloader.file.path


async def _stored(change: Callable[[Path, A], R], file: Path, argument: A) -> R:
    """Change the file of the added models, on a thread."""
    try:
        return await asyncio.to_thread(change, file, argument)
    except (OSError, ConfigError) as error:
        raise StorageFailed(f"The added models cannot be kept: {error}", param="persist") from None


def _spec(services: Services, tree: Any, replaces: str = "", root: str = "") -> ModelSpec:
    """The model of these settings, beside those that are served. Raises BadRequest with every fault."""
    others = [spec for spec in services.engine.specs if spec.name != replaces]
    try:
        return model_from(tree, others, services.config, services.reloader.file.folder)
    except ConfigError as error:
        path = error.problems[0].partition(":")[0]
        raise BadRequest(
            "; ".join(error.problems), param=root + path, code="invalid_model_settings"
        ) from None


def _state_of(services: Services, name: str, *, done: bool = True) -> Answer:
    status = services.engine.model(name, measure=True)
    return Answer(render(_shown_model(status)), 200 if done else _ACCEPTED)


def _shown_model(status: ModelStatus) -> AdminModel:
    spec = status.spec
    return AdminModel(
        model=spec.name,
        aliases=spec.aliases,
        backend=spec.backend,
        tasks=list(spec.tasks),
        source=spec.source,
        state=status.state,
        version=status.version,
        arriving=status.arriving,
        pinned=status.pinned,
        waiting=status.waiting,
        idle_s=status.idle_s,
        error=status.error,
        stderr=list(status.stderr),
        settings=msgspec.to_builtins(spec),
        workers=[AdminWorker(**msgspec.structs.asdict(worker)) for worker in status.workers],
    )


def _reloaded(reloaded: Reloaded) -> ConfigReloaded:
    plan = reloaded.plan
    return ConfigReloaded(
        added=[spec.name for spec in plan.added],
        removed=plan.removed,
        swapped=[spec.name for spec in plan.swapped if spec.name not in reloaded.failed],
        changed=[spec.name for spec in plan.changed],
        failed=reloaded.failed,
        needs_restart=plan.needs_restart,
    )
