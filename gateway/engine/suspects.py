"""Requests that were running when a worker died, by what they say: a client's retry is a new job. Pure.

Owns the count of deaths by content, which is kept for a while and bounded. Two deaths convict; an answer
that comes to its end acquits, so that a request which everybody sends does not stay suspect for a
neighbour's fault. Suspects never run beside each other: when the guilty one kills again, nobody who was
there the first time is there the second. A file that was uploaded counts by its path, which is another at
each upload; of a live session it is not known what it asks.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from gateway.engine.job_queue import JobEntry

CONVICTING_DEATHS = 2
KEPT_S = 300.0
MOST_KEPT = 1024

_encoder = msgspec.msgpack.Encoder()


@dataclass(slots=True)
class _Record:
    deaths: int
    until: float


class Suspects:
    """Costs nothing while there is none."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record] = OrderedDict()

    def accuse(self, entries: Iterable[JobEntry], now: float) -> None:
        """A worker has died while it ran these: one death for each content, however often it was asked."""
        for content in {_content(entry) for entry in entries if not entry.is_session}:
            self._records[content] = _Record(self._deaths(content, now) + 1, now + KEPT_S)
            self._records.move_to_end(content)
        while len(self._records) > MOST_KEPT:
            self._records.popitem(last=False)

    def acquit(self, entry: JobEntry) -> None:
        if self._records:
            self._records.pop(_content(entry), None)

    def suspected(self, entry: JobEntry, now: float) -> bool:
        return bool(self._records) and self._deaths(_content(entry), now) > 0

    def convicted(self, entry: JobEntry, now: float) -> bool:
        return bool(self._records) and self._deaths(_content(entry), now) >= CONVICTING_DEATHS

    def may_run_beside(self, entry: JobEntry, others: Iterable[JobEntry], now: float) -> bool:
        """False: it and one of the others are suspects, and not for the same content."""
        if not self.suspected(entry, now):
            return True
        own = _content(entry)
        return all(_content(other) == own or not self.suspected(other, now) for other in others)

    def _deaths(self, content: bytes, now: float) -> int:
        record = self._records.get(content)
        return record.deaths if record is not None and now < record.until else 0


def _content(entry: JobEntry) -> bytes:
    """The same for every job that asks the same of the same model, streamed or not."""
    if not entry.content:
        job = entry.job
        entry.content = hashlib.sha256(
            _encoder.encode((job.model, job.task, job.parameters, job.items))
        ).digest()
    return entry.content
