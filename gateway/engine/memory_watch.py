"""Measures what workers hold and what is left, again and again, in a thread beside the event loop.

A worker that loads is looked at ten times a second, one that works every second, one that is idle every five;
and less often where looking takes long, which it does by the gigabyte. Every look at any of them is a look at
the devices too. Decides nothing: it reports MemoryMeasured, and keeps peaks for later predictions.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog
from msgspec import Struct

from gateway.engine.devices import Devices, DeviceState, Holder, worker_bytes
from gateway.engine.events import MemoryMeasured
from gateway.engine.launcher.memory import GroupMemory, group_memory
from gateway.engine.learned import LearnedPeaks
from gateway.engine.placement import kind_of

LOADING_S = 0.1
BUSY_S = 1.0
IDLE_S = 5.0
_MOST_COST = 0.05
"""Of one core, what looking at one worker may take."""

log = structlog.get_logger(__name__)


class Subject(Struct, frozen=True):
    """A worker to be measured."""

    worker_id: int
    pid: int
    """0: there is no process to be looked at, not yet or no more."""
    device_bytes: Mapping[str, int]
    """What is set aside for it, by device."""
    period_s: float
    model: str
    learned_key: str
    """Empty: what it holds says nothing of its model."""


class MemoryWatch:
    """`subjects` names the workers that live; `post` receives the measurements, on the event loop."""

    def __init__(
        self,
        devices: Devices,
        learned: LearnedPeaks,
        subjects: Callable[[], Sequence[Subject]],
        post: Callable[[MemoryMeasured], None],
    ) -> None:
        self.states: list[DeviceState] = []
        """The devices as they were seen last."""
        self.memory: dict[int, GroupMemory] = {}
        """What each worker's processes held when they were looked at last."""
        self._devices = devices
        self._learned = learned
        self._subjects = subjects
        self._post = post
        self._due: dict[int, float] = {}
        self._started = asyncio.Event()

    def worker_started(self) -> None:
        """Look soon."""
        self._started.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            subjects: Sequence[Subject] = ()
            try:
                subjects = self._subjects()
                self.memory = {s.worker_id: self.memory.get(s.worker_id, GroupMemory()) for s in subjects}
                self._post(await asyncio.to_thread(self._look, subjects))
            except Exception:  # edge of the loop: models are served with what was seen last
                log.exception("memory cannot be measured")
            due = [self._due.get(s.worker_id, 0.0) - time.monotonic() for s in subjects]
            pause_s = min([IDLE_S, *due])
            try:
                async with asyncio.timeout(max(LOADING_S / 2, pause_s)):
                    await self._started.wait()
            except TimeoutError:
                pass
            self._started.clear()

    def _look(self, subjects: Sequence[Subject]) -> MemoryMeasured:
        """In a thread."""
        for subject in subjects:
            self._measure(subject)
        holders = {s.worker_id: Holder(s.device_bytes, self.memory[s.worker_id]) for s in subjects}
        self.states, gpus = self._devices.look(holders.values())
        held = {worker_id: worker_bytes(holder, gpus) for worker_id, holder in holders.items()}
        for subject in subjects:
            if not subject.learned_key:
                continue
            # A model in parts needs more than a whole one: that would be no prediction for either.
            if (seen := held[subject.worker_id]) and len(subject.device_bytes) == 1:
                size = sum(seen.values())
                self._learned.note(subject.worker_id, subject.learned_key, kind_of(seen), subject.model, size)
        self._forget_others(subjects)
        return MemoryMeasured(
            [state.device for state in self.states],
            {worker_id: seen for worker_id, seen in held.items() if any(seen.values())},
        )

    def _measure(self, subject: Subject) -> None:
        started_at = time.monotonic()
        if not subject.pid:
            self._due[subject.worker_id] = started_at + LOADING_S
        if started_at < self._due.get(subject.worker_id, 0.0):
            return
        self.memory[subject.worker_id] = group_memory(subject.pid)
        took_s = time.monotonic() - started_at
        self._due[subject.worker_id] = started_at + max(subject.period_s, took_s / _MOST_COST)

    def _forget_others(self, subjects: Iterable[Subject]) -> None:
        ids = {subject.worker_id for subject in subjects}
        self._due = {worker_id: due for worker_id, due in self._due.items() if worker_id in ids}
        self._learned.keep_only(ids)
