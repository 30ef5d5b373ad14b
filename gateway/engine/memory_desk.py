"""The engine's way to memory: the watch over it, its figures, and the wait until it is back.

Owns the watch's task. Decides nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from config.schema import Config
from gateway.engine import memory_view
from gateway.engine.devices import Devices
from gateway.engine.events import MemoryMeasured
from gateway.engine.fleet import Fleet, ModelKey
from gateway.engine.learned import LearnedPeaks
from gateway.engine.memory_watch import MemoryWatch, Subject
from gateway.engine.returned import wait_returned
from gateway.engine.worker import Worker
from gateway.telemetry.memory import MemoryFigures
from gateway.weights.located import Located


class MemoryDesk:
    """`post` receives what is measured. To be bound to the fleet before it starts."""

    def __init__(
        self, config: Config, devices: Devices, learned: LearnedPeaks, post: Callable[[MemoryMeasured], None]
    ) -> None:
        self._returned_s = config.placement.returned_s
        self._devices = devices
        self._post = post
        self._watch = MemoryWatch(devices, learned, self._subjects, self._measured)
        self._task: asyncio.Task[None] | None = None
        self._fleet: Fleet
        self._live: Mapping[int, Worker]
        self._located: Callable[[ModelKey], Located]

    def bind(self, fleet: Fleet, live: Mapping[int, Worker], located: Callable[[ModelKey], Located]) -> None:
        """`live`: the handles on the processes; `located`: of a version that was described."""
        self._fleet, self._live, self._located = fleet, live, located

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch.run(), name="memory")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._devices.close()

    def worker_started(self) -> None:
        """Look soon."""
        self._watch.worker_started()

    def devices(self) -> list[memory_view.DeviceStatus]:
        """Every device as it was seen last."""
        return memory_view.devices(self._fleet, self._watch)

    def figures(self) -> MemoryFigures:
        return memory_view.figures(self._fleet, self._watch)

    def wait_returned(self, group: int, pids: Sequence[int], devices: Sequence[str]) -> bool:
        """See MemoryBack; not on the event loop."""
        return wait_returned(self._devices.gpus, group, pids, devices, self._returned_s)

    def _subjects(self) -> list[Subject]:
        return memory_view.subjects(self._fleet, self._live, self._located)

    def _measured(self, event: MemoryMeasured) -> None:
        for worker_id, memory in self._watch.memory.items():
            if worker_id in self._live:
                self._live[worker_id].memory = memory
        self._post(event)
