"""Loading, unloading, swapping, adding and removing models on request, and waiting for what comes of it.

Owns the waits and the versions of the registry. Decides nothing about workers: it posts events, and the
scheduler does. Everything runs on the event loop's thread.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Literal

import structlog

from backends.protocol import Description
from config.schema import Config, ModelSpec
from gateway.engine import errors, events
from gateway.engine.changes import Changes
from gateway.engine.describer import Describer
from gateway.engine.fleet import Fleet, ModelKey
from gateway.engine.registry import Registry

log = structlog.get_logger(__name__)
Strategy = Literal["alongside", "replace"]


class Lifecycle:
    """`post` hands an event to the scheduler."""

    def __init__(
        self,
        config: Config,
        registry: Registry,
        fleet: Fleet,
        describer: Describer,
        post: Callable[[events.Event], None],
    ) -> None:
        self.changes = Changes()
        self._timeouts = config.timeouts
        self._registry = registry
        self._fleet = fleet
        self._describer = describer
        self._post = post
        self._swaps: dict[ModelKey, asyncio.Future[None]] = {}

    # --- one model ------------------------------------------------------------------------------------

    async def load(self, name: str, *, pinned: bool | None = None, wait: bool = True) -> None:
        """Load it and keep it; returns when it is ready. Raises what keeps it from that."""
        await self._describe(name)
        self._post(events.ModelWanted(name, pinned, at_once=True))
        if not wait:
            return
        timeout_s = self._timeouts.load_s + self._timeouts.queue_s
        if not await self.changes.until(lambda: self._is_ready(name), timeout_s):
            raise errors.NoRoom(
                f"{name} is not loaded after {timeout_s:g} s: other models are busy in the memory it needs; "
                "it is loaded as soon as there is room.",
                retry_after_s=30,
            )

    def _is_ready(self, name: str) -> bool:
        model = self._fleet.models.get(name)
        if model is None:
            raise errors.ModelNotFound(f"{name} was removed while it was loaded.", param="model")
        if self._fleet.draining:
            raise errors.Draining("The server is shutting down.", retry_after_s=5)
        failed = model.state(time.monotonic()) == "failed" or isinstance(model.error, errors.NoRoom)
        if failed and model.error is not None and not model.ready_workers():
            raise model.error
        if not model.wanted and not model.ready_workers():
            raise errors.ModelUnloaded(f"{name} was unloaded while it was loaded.", retry_after_s=1)
        return bool(model.ready_workers())

    async def unload(self, name: str, *, force: bool = False, wait: bool = True) -> bool:
        """Free its memory; True once its processes are gone. False: its jobs still run, it goes on."""
        workers = set(self._fleet.models[name].workers)
        self._post(events.UnloadAsked(name, force))
        timeout_s = self._timeouts.drain_s + self._timeouts.stop_s if wait else 0.0
        return await self.changes.until(lambda: not workers & self._fleet.workers.keys(), timeout_s)

    async def swap(self, spec: ModelSpec, strategy: Strategy = "alongside") -> None:
        """Put a new version in the place of the one that serves; returns when it does.

        Raises why it does not: the one that served then goes on.
        """
        version, description = await self.describe_next(spec)
        await self.swap_described(spec, version, description, strategy)

    async def reload(self, name: str, strategy: Strategy = "alongside") -> None:
        """Swap it with itself: its weights are read anew."""
        await self.swap(self._registry.specs[name], strategy)

    async def describe_next(self, spec: ModelSpec) -> tuple[int, Description]:
        """Number and description of a version that is to come. Raises why it cannot be served."""
        version = self._registry.next_version(spec.name)
        return version, await self._describer.describe(spec, version)

    async def describe_all(self, specs: Iterable[ModelSpec]) -> dict[str, tuple[int, Description]]:
        """As `describe_next`, by name; where one cannot be served, none is kept."""
        described: dict[str, tuple[int, Description]] = {}
        try:
            for spec in specs:
                described[spec.name] = await self.describe_next(spec)
        except errors.GatewayError:
            for name, (version, _) in described.items():
                self._describer.forget((name, version))
            raise
        return described

    async def swap_described(
        self,
        spec: ModelSpec,
        version: int,
        description: Description,
        strategy: Strategy,
        *,
        only_if_loaded: bool = False,
    ) -> None:
        """As `swap`, for a version that is described. `only_if_loaded`: a cold model stays cold."""
        key = spec.name, version
        done = self._swaps[key] = asyncio.get_running_loop().create_future()
        learned = self._describer.learned(key)
        self._post(events.SwapAsked(spec, version, description, strategy, only_if_loaded, learned))
        try:
            await asyncio.shield(done)
        finally:
            del self._swaps[key]
            if key not in self._fleet.versions:
                self._describer.forget(key)

    # --- which models there are -----------------------------------------------------------------------

    def add(self, spec: ModelSpec, version: int, description: Description) -> None:
        """Serve one more; its name and aliases must be free."""
        self._registry.put(spec, version)
        self._post(events.ModelAdded(spec, version))
        learned = self._describer.learned((spec.name, version))
        self._post(events.ModelDescribed(spec.name, description, learned))

    def change(self, spec: ModelSpec) -> None:
        """Change settings of a served model that its workers do not know."""
        self._registry.put(spec)
        self._post(events.ModelChanged(spec))

    def remove(self, name: str) -> None:
        """Serve it no more. What it has begun, and what waits for it, is still answered."""
        self._registry.remove(name)
        self._post(events.ModelRemoved(name))

    async def preload(self, names: list[str]) -> None:
        """One after the other: the first is of use soonest that way. What is wrong is told by its state.

        Those for which there is no room beside the earlier ones are left to their first request.
        """
        for name in names:
            if name not in self._fleet.models:  # removed meanwhile
                continue
            try:
                await self._describe(name)
            except errors.GatewayError as error:
                self._post(events.ModelBroken(name, error))
                continue
            self._post(events.ModelWanted(name, gently=True))
            await self.changes.until(lambda name=name: not self._is_starting(name), self._timeouts.load_s)  # type: ignore[misc]
            model = self._fleet.models.get(name)
            if model is not None and model.left_out:
                log.warning("not preloaded: there is no room for it beside the others", model=name)

    def _is_starting(self, name: str) -> bool:
        model = self._fleet.models.get(name)
        return model is not None and model.state(time.monotonic()) == "starting"

    async def _describe(self, name: str) -> None:
        if self._fleet.models[name].description is None:
            await self._describer.describe(self._registry.specs[name], self._registry.version(name))

    # --- for the run loop -----------------------------------------------------------------------------

    def carry_out(self, command: events.SwitchVersion | events.FailSwap | events.ForgetVersion) -> None:
        match command:
            case events.SwitchVersion(name, version):
                self._registry.put(self._fleet.models[name].spec, version)
                if (done := self._swaps.get((name, version))) is not None and not done.done():
                    done.set_result(None)
            case events.FailSwap(name, version, error):
                if (done := self._swaps.get((name, version))) is not None and not done.done():
                    done.set_exception(error)
            case events.ForgetVersion(name, version):
                self._describer.forget((name, version))
