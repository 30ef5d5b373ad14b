"""Runs a BatchEngine as a StepEngine: one step is one forward call over items of many jobs.

Owns the items waiting inside the worker. Must not know what the items are.
"""

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic

from backends.base import BatchEngine, JobError, OutOfMemory, P, StepEngine, give_back
from backends.batcher import Waiting, take
from backends.protocol import (
    Capacity,
    Failed,
    FailureKind,
    Finished,
    ItemDone,
    Job,
    Output,
    Result,
    StepStats,
    Timings,
)

log = logging.getLogger(__name__)

_CLASS_S = 1.0
"""A job goes before those of the priority below that came so much earlier at most: none waits for ever."""


@dataclass(slots=True)
class _OpenJob:
    job: Job
    remaining: int
    added_at: float
    started_at: float = 0.0


@dataclass(slots=True)
class _WaitingItem(Generic[P]):
    open_job: _OpenJob
    index: int
    item: P
    key: Hashable
    cost: int


class BatchRunner(StepEngine[P]):
    """The adapter; see StepEngine for the contract."""

    def __init__(self, engine: BatchEngine[P], clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._jobs: dict[str, _OpenJob] = {}
        self._waiting: list[_WaitingItem[P]] = []
        self._stats = StepStats()

    def warm_up(self) -> None:
        self._engine.warm_up()

    def add(self, job: Job, items: list[P]) -> None:
        open_job = _OpenJob(job, len(items), self._clock())
        self._jobs[job.id] = open_job
        engine = self._engine
        self._waiting += [
            _WaitingItem(open_job, index, item, engine.batch_key(item), engine.cost(item))
            for index, item in enumerate(items)
        ]
        self._waiting.sort(key=_rank)

    def step(self) -> list[Output]:
        started_at = self._clock()
        batch = self._take()
        for entry in batch:
            if not entry.open_job.started_at:
                entry.open_job.started_at = started_at
                self.announce(entry.open_job.job.id)
        outputs: list[Output] = []
        for entry, result in self._forward(batch):
            outputs += self._settle(entry, result)
        self._stats = StepStats(
            step_s=self._clock() - started_at,
            running=len(self._jobs),
            batch_items=len(batch),
            prefill_tokens=sum(entry.cost for entry in batch),
        )
        return outputs

    def abort(self, job_id: str) -> bool:
        if self._jobs.pop(job_id, None) is None:
            return False
        self._waiting = [entry for entry in self._waiting if entry.open_job.job.id != job_id]
        return True

    def has_work(self) -> bool:
        return bool(self._waiting)

    def capacity(self) -> Capacity:
        # Two batches' worth: one in the engine and one to take when it gets free.
        return Capacity(2 * self._engine.max_batch_items, -1, len(self._waiting), 0)

    def stats(self) -> StepStats:
        return self._stats

    def requeue(self, max_queued: int) -> list[str]:
        unstarted = [job_id for job_id, job in reversed(self._jobs.items()) if not job.started_at]
        return give_back(unstarted, self.abort, lambda: len(self._waiting), max_queued)

    def _take(self) -> list[_WaitingItem[P]]:
        positions = take(
            [Waiting(entry.key, entry.cost) for entry in self._waiting],
            max_cost=self._engine.max_batch_cost,
            max_items=self._engine.max_batch_items,
            padded_cost=self._engine.padded_cost,
        )
        batch = [self._waiting[i] for i in positions]
        taken = set(positions)
        self._waiting = [entry for i, entry in enumerate(self._waiting) if i not in taken]
        return batch

    def _forward(self, batch: list[_WaitingItem[P]]) -> list[tuple[_WaitingItem[P], Result | Exception]]:
        try:
            results = self._engine.forward(
                [entry.open_job.job.parameters for entry in batch], [entry.item for entry in batch]
            )
            return list(zip(batch, results, strict=True))
        except Exception as error:  # one bad item must not fail its neighbours: find it by trying each alone
            if len(batch) == 1:
                if not isinstance(error, JobError):
                    log.exception("an item failed alone")
                return [(batch[0], error)]
            log.warning("a batch of %d failed (%s); trying its items one by one", len(batch), error)
            return [pair for entry in batch for pair in self._forward([entry])]

    def _settle(self, entry: _WaitingItem[P], result: Result | Exception) -> list[Output]:
        job_id = entry.open_job.job.id
        if job_id not in self._jobs:  # another item of it has failed in this very batch
            return []
        if isinstance(result, Exception):
            self.abort(job_id)
            return [_failure(job_id, result)]
        entry.open_job.remaining -= 1
        outputs: list[Output] = [ItemDone(job_id, entry.index, result)]
        if entry.open_job.remaining == 0:
            del self._jobs[job_id]
            outputs.append(Finished(job_id, self._timings(entry.open_job)))
        return outputs

    def _timings(self, open_job: _OpenJob) -> Timings:
        return Timings(
            queue_s=open_job.started_at - open_job.added_at,
            prefill_s=self._clock() - open_job.started_at,
        )


def _rank(entry: _WaitingItem[Any]) -> float:
    return entry.open_job.added_at - _CLASS_S * entry.open_job.job.priority


def _failure(job_id: str, error: Exception) -> Failed:
    if isinstance(error, JobError):
        return Failed(job_id, "invalid_request", error.message, error.param, error.code)
    kind: FailureKind = "out_of_memory" if isinstance(error, OutOfMemory | MemoryError) else "internal"
    return Failed(job_id, kind, f"the engine failed on this input: {type(error).__name__}")
