"""Jobs of one class that wait: keys take turns by cost, and each key's jobs go in order of arrival. Pure.

Start-time fair queueing (Goyal, Vin, Cheng 1996) over keys: each key has a virtual time at which its next job
may go, which grows by the cost of what has gone; the key with the least goes next. A key that comes newly
begins at the time of the one that went last, so that nobody saves up turns. Every operation costs the
logarithm of the number of keys, however many jobs wait.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

_RETURNED = -1.0
"""Before every virtual time."""
_SMALL = 1024
"""A heap of this size is never worth cleaning."""


class Entry(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def cost(self) -> float: ...
    @property
    def number(self) -> int: ...
    @property
    def returned(self) -> bool: ...


E = TypeVar("E", bound=Entry)
_Head = tuple[float, int, str]


@dataclass(slots=True)
class _Flow(Generic[E]):
    """The jobs of one key. `start`: the virtual time at which its next one may go."""

    key: str
    start: float
    entries: OrderedDict[int, E] = field(default_factory=OrderedDict)
    returned: dict[int, E] = field(default_factory=dict)
    """Those that had gone and came back: they have been paid for, and go before all others."""

    def __len__(self) -> int:
        return len(self.entries) + len(self.returned)

    def head(self) -> _Head:
        if self.returned:
            return _RETURNED, min(self.returned), self.key
        return self.start, next(iter(self.entries)), self.key


class FairQueue(Generic[E]):
    """See the module's docstring. An entry's number is the order of its arrival, and its identity."""

    def __init__(self) -> None:
        self._flows: dict[str, _Flow[E]] = {}
        self._heads: list[_Head] = []
        """A heap; a head that is no longer its key's is passed over when it comes up."""
        self._held: set[str] = set()
        self._now = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[E]:
        """Key by key."""
        for flow in self._flows.values():
            yield from flow.returned.values()
            yield from flow.entries.values()

    def push(self, entry: E) -> None:
        flow = self._flows.get(entry.key)
        if flow is None:
            flow = self._flows[entry.key] = _Flow(entry.key, self._now)
        elif not flow:
            flow.start = max(flow.start, self._now)
        before = flow.head() if flow else None
        (flow.returned if entry.returned else flow.entries)[entry.number] = entry
        self._count += 1
        if flow.head() != before:
            self._put_head(flow)

    def first(self) -> E | None:
        """The job whose turn it is; keys that are held are passed over."""
        while self._heads:
            start, number, key = self._heads[0]
            flow = self._flows.get(key)
            if flow and key not in self._held and flow.head() == (start, number, key):
                return flow.returned.get(number) or flow.entries[number]
            heapq.heappop(self._heads)  # what is held comes back with its release
        return None

    def take(self, entry: E) -> None:
        """It goes: its key pays for it."""
        if not entry.returned:
            flow = self._flows[entry.key]
            self._now = max(self._now, flow.start)
            flow.start += entry.cost
        self.drop(entry)

    def drop(self, entry: E) -> None:
        """Take it out, wherever it stands."""
        flow = self._flows[entry.key]
        del (flow.returned if entry.returned else flow.entries)[entry.number]
        self._count -= 1
        if not self._count:  # nobody waits: everybody begins anew
            self._flows.clear()
            self._heads.clear()
            self._now = 0.0
        elif flow:
            self._put_head(flow)
        elif flow.start <= self._now:
            del self._flows[entry.key]

    def hold(self, key: str) -> None:
        """None of this key goes before `release`."""
        self._held.add(key)

    def release(self, key: str) -> None:
        self._held.discard(key)
        if flow := self._flows.get(key):
            self._put_head(flow)

    def free_to_go(self) -> int:
        """How many wait for their turn alone, not for their key's release."""
        return sum(len(flow) for flow in self._free())

    def ahead(self, key: str) -> int:
        """About how many go before a job of this key that comes now."""
        own = len(self._flows.get(key, ()))
        return own + sum(min(len(flow), own + 1) for flow in self._free() if flow.key != key)

    def ahead_of(self, entry: E) -> int:
        """About how many go before this one, which waits here."""
        flow = self._flows[entry.key]
        own = sum(number < entry.number for number in (*flow.returned, *flow.entries))
        return own + sum(min(len(other), own + 1) for other in self._free() if other is not flow)

    def _free(self) -> Iterator[_Flow[E]]:
        return (flow for flow in self._flows.values() if flow.key not in self._held)

    def _put_head(self, flow: _Flow[E]) -> None:
        """`first` clears away old heads, but nobody calls it while higher classes always have a job to go."""
        heapq.heappush(self._heads, flow.head())
        if len(self._heads) > _SMALL + 4 * self._count:
            self._heads = [free.head() for free in self._free() if free]
            heapq.heapify(self._heads)
