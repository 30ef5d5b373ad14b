"""What each version of a model can do, and where its weights are.

Owns the answers as long as the version lives; each is asked for once.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from backends.protocol import Description
from config.schema import BackendConfig, Config, ModelSpec
from gateway.engine.descriptions import describe
from gateway.engine.errors import ModelNotPulled
from gateway.engine.fleet import ModelKey
from gateway.engine.learned import LearnedPeaks, learned_key
from gateway.weights.errors import WeightsError
from gateway.weights.located import Located, locate
from gateway.weights.store import WeightsStore


class Describer:
    """`on_described` hears of each version once, and what was learned of it, before anybody who waits."""

    def __init__(
        self,
        config: Config,
        store: WeightsStore,
        cache_dir: Path,
        learned: LearnedPeaks,
        on_described: Callable[[ModelKey, Description, Mapping[str, int]], None],
    ) -> None:
        self._backends = config.backends
        self._store = store
        self._cache_dir = cache_dir
        self._learned = learned
        self._on_described = on_described
        self._located: dict[ModelKey, Located] = {}
        self._seen: dict[ModelKey, Mapping[str, int]] = {}
        self._asking: dict[ModelKey, asyncio.Task[Description]] = {}

    async def describe(self, spec: ModelSpec, version: int) -> Description:
        """Raises ModelFailed, with what mends it, if the weights are not usable."""
        key = spec.name, version
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(spec, key))
            task.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(task)  # others may wait for the same answer

    def located(self, key: ModelKey) -> Located:
        """Of a version that was described."""
        return self._located[key]

    def learned(self, key: ModelKey) -> Mapping[str, int]:
        """What earlier loads of a version that was described were seen to need, by kind of device."""
        return self._seen.get(key, {})

    def forget(self, key: ModelKey) -> None:
        self._located.pop(key, None)
        self._seen.pop(key, None)

    async def _ask(self, spec: ModelSpec, key: ModelKey) -> Description:
        try:
            located = await asyncio.to_thread(locate, self._store, spec)
        except WeightsError as error:
            raise ModelNotPulled(str(error)) from None
        backend = self._backends.get(spec.backend, BackendConfig())
        description = await describe(
            located.spec, backend, located.weights, located.fingerprint, self._cache_dir
        )
        self._located[key] = located
        peaks = learned_key(located.spec, located.fingerprint)
        learned = await asyncio.to_thread(self._learned.read, peaks, description.device_kinds)
        self._seen[key] = learned
        self._on_described(key, description, learned)
        return description
