"""Reads the configuration anew while the server runs, and carries out what is new in it.

Owns what the file said last, and the watch over the file. A file that cannot be used changes nothing. Must
not know HTTP.
"""

import asyncio
import traceback
from collections.abc import Collection

import msgspec
import structlog
from msgspec import Struct

from backends.protocol import Description
from config.errors import ConfigError
from config.load import ConfigFile
from config.one_model import by_name
from config.schema import Config, ModelSpec
from config.validate import taken_names
from gateway.engine.engine import Engine
from gateway.engine.errors import BadRequest, Conflict, GatewayError
from gateway.engine.lifecycle import Strategy
from gateway.engine.reload_plan import ReloadPlan, plan_reload, served_after
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class Reloaded(Struct, frozen=True):
    """What came of it."""

    plan: ReloadPlan
    failed: dict[str, str]
    """Models that could not be swapped, and why."""


class Reloader:
    def __init__(self, file: ConfigFile, config: Config, engine: Engine, metrics: Metrics) -> None:
        self.file = file
        self._start = self._last = config
        self._engine = engine
        self._metrics = metrics
        self._running = False
        self._again = False
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the ways to ask for it -----------------------------------------------------------------------

    async def reload(self, strategy: Strategy = "alongside") -> Reloaded:
        """Raises BadRequest with what is wrong with the file, or why a model of it cannot be served."""
        if self._running:
            raise Conflict("The configuration is being reloaded already.", code="reload_in_progress")
        self._running = True
        try:
            return await self._reload(strategy)
        finally:
            self._running = False
            if self._again:
                self._again = False
                self.request()

    def request(self) -> None:
        """Reload without anybody waiting for what comes of it: the log tells it."""
        if self._running:
            self._again = True
            return
        self._keep(asyncio.create_task(self._unattended(), name="reload"))

    async def watch(self, every_s: float) -> None:
        """Until cancelled. A file that is being written is read once it has been at rest for a while."""
        read = seen = await asyncio.to_thread(self.file.state)
        while True:
            await asyncio.sleep(every_s)
            state = await asyncio.to_thread(self.file.state)
            if state == seen and state != read and state[0] is not None:
                read = state
                self.request()
            seen = state

    async def _unattended(self) -> None:
        try:
            await self.reload()
        except GatewayError:  # it is in the log
            return
        except Exception as error:
            # Nobody waits for this task, so nobody else would tell. Its text may hold values of the file.
            self._metrics.config_reloaded("refused")
            at = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "configuration not reloaded",
                error=type(error).__name__,
                at=f"{at.filename}:{at.lineno}",
            )

    # --- carrying it out ------------------------------------------------------------------------------

    async def _reload(self, strategy: Strategy) -> Reloaded:
        try:
            new = await asyncio.to_thread(self.file.read)
            plan = plan_reload(self._start, self._last, new, self._served)
            self._check_names(plan)
            # All that is new, before anything changes.
            described = await self._engine.life.describe_all([*plan.added, *plan.swapped])
        except (ConfigError, GatewayError) as error:
            reason = "\n".join(error.problems) if isinstance(error, ConfigError) else error.message
            self._metrics.config_reloaded("refused")
            log.error("configuration not reloaded: nothing has changed", reason=reason)
            code = "invalid_configuration" if isinstance(error, ConfigError) else error.code
            raise BadRequest(f"Nothing has changed. {reason}", code=code) from None
        failed = await self._apply(plan, described, strategy)
        self._last = _as_far_as_it_went(new, self._last, failed)
        self._metrics.config_reloaded("partly" if failed else "ok")
        names = {
            kind: [spec.name for spec in getattr(plan, kind)] for kind in ("added", "swapped", "changed")
        }
        log.info("configuration reloaded", removed=plan.removed, failed=failed, **names)
        return Reloaded(plan, failed)

    def _check_names(self, plan: ReloadPlan) -> None:
        """The file's names are free among its own; models that were added on request have some as well."""
        models = served_after(plan, self._served)
        if problems := [by_name(problem, models) for problem in taken_names(models)]:
            raise ConfigError(problems)

    @property
    def _served(self) -> dict[str, ModelSpec]:
        return {spec.name: spec for spec in self._engine.specs}

    async def _apply(
        self, plan: ReloadPlan, described: dict[str, tuple[int, Description]], strategy: Strategy
    ) -> dict[str, str]:
        """What is removed first makes room for the rest. Gives the models that could not be swapped.

        While the new ones were described an administrator may have removed or added some.
        """
        life = self._engine.life
        served = self._served
        for name in plan.removed:
            if name in served:
                life.remove(name)
        for spec in plan.changed:
            if spec.name in served:
                life.change(spec)
        failed: dict[str, str] = {}
        for spec in plan.added:
            if spec.name in served:
                failed[spec.name] = "A model of this name has been added meanwhile."
            else:
                life.add(spec, *described[spec.name])
        for spec in plan.swapped:
            try:
                await life.swap_described(spec, *described[spec.name], strategy, only_if_loaded=True)
            except GatewayError as error:
                failed[spec.name] = error.message
        preloaded = {name for name, spec in served.items() if spec.preload}
        new = [spec for spec in (*plan.added, *plan.swapped, *plan.changed) if spec.name not in preloaded]
        wanted = [spec.name for spec in new if spec.preload]
        self._keep(asyncio.create_task(life.preload(wanted), name="preload"))
        return failed

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _as_far_as_it_went(new: Config, old: Config, failed: Collection[str]) -> Config:
    """The new configuration, but for models that could not be swapped: the next reload tries them again."""
    before = {spec.name: spec for spec in old.models}
    models = [before.get(spec.name, spec) if spec.name in failed else spec for spec in new.models]
    return msgspec.structs.replace(new, models=models)
