"""Requests that were running when a worker died, by what they say: a client's retry is a new job. Pure.

Owns the count of deaths by content, which is kept for a while and bounded. Two deaths convict; an answer
that comes to its end acquits, so that a request which everybody sends does not stay suspect for a
neighbour's fault. A file that was uploaded counts by its path, which is another at each upload.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from backends.protocol import Job

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

    def accuse(self, jobs: Iterable[Job], now: float) -> None:
        """A worker has died while it ran these: one death for each content, however often it was asked."""
        for content in {_content(job) for job in jobs}:
            self._records[content] = _Record(self._deaths(content, now) + 1, now + KEPT_S)
            self._records.move_to_end(content)
        while len(self._records) > MOST_KEPT:
            self._records.popitem(last=False)

    def acquit(self, job: Job) -> None:
        if self._records:
            self._records.pop(_content(job), None)

    def convicted(self, job: Job, now: float) -> bool:
        return bool(self._records) and self._deaths(_content(job), now) >= CONVICTING_DEATHS

    def _deaths(self, content: bytes, now: float) -> int:
        record = self._records.get(content)
        return record.deaths if record is not None and now < record.until else 0


def _content(job: Job) -> bytes:
    """The same for every job that asks the same of the same model, streamed or not."""
    return hashlib.sha256(_encoder.encode((job.model, job.task, job.parameters, job.items))).digest()
