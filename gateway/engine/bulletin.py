"""What happens to models, told to whoever watches.

Owns the watchers and what each has not read yet. One that does not read falls behind, and is told so instead
of filling memory.
"""

import asyncio
from collections import deque
from types import TracebackType
from typing import Literal

from msgspec import Struct

MOST_UNREAD = 1000

ModelEventKind = Literal[
    "state",
    "loading",
    "progress",
    "ready",
    "unloading",
    "unloaded",
    "died",
    "failed",
    "swapping",
    "swapped",
    "swap_failed",
    "added",
    "removed",
    "changed",
]


class ModelEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that has happened to a model, and the state it is in now."""

    event: ModelEventKind
    """state: as it is at the beginning of the stream. loading, progress, ready: one worker of it. unloading:
    somebody asks for that. unloaded: a worker has ended as it was meant to, and its memory is free; died: one
    has ended otherwise. failed: it is not tried again for a while. swapping, swapped, swap_failed: a new
    version."""
    model: str
    version: int
    state: str
    """cold, starting, ready, restarting, failed, unloading; removed."""
    at: float
    """Unix time, seconds."""
    worker: int = 0
    device: str = ""
    stage: str = ""
    """Of a load: weights or warm_up."""
    fraction: float = 0.0
    """Of the stage, 0 to 1, where the backend knows it."""
    load_s: float = 0.0
    reason: str = ""
    """For people: why it was unloaded, why it failed."""


class Watcher:
    """It ends when it has fallen behind, or nothing more will happen."""

    def __init__(self, bulletin: "Bulletin", first: list[ModelEvent]) -> None:
        self._bulletin = bulletin
        self._unread = deque(first)
        self._news = asyncio.Event()
        self.behind = False
        self._over = False

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bulletin.leave(self)

    def push(self, event: ModelEvent) -> None:
        if len(self._unread) >= MOST_UNREAD:
            self.behind = self._over = True
        elif not self._over:
            self._unread.append(event)
        self._news.set()

    def end(self) -> None:
        self._over = True
        self._news.set()

    async def next(self) -> list[ModelEvent]:
        """What has happened since; empty once it is over and all that was kept is read."""
        while not self._unread and not self._over:
            self._news.clear()
            await self._news.wait()
        taken = list(self._unread)
        self._unread.clear()
        return taken


class Bulletin:
    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def watch(self, first: list[ModelEvent]) -> Watcher:
        """Everything from now on, after `first`."""
        watcher = Watcher(self, first)
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def close(self) -> None:
        """Nothing more will happen."""
        for watcher in self._watchers:
            watcher.end()

    def publish(self, event: ModelEvent) -> None:
        for watcher in self._watchers:
            watcher.push(event)
