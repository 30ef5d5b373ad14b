"""The engine of all voices: texts of many requests, spoken in turns, a piece each.

Owns turns, ends and failures. Must not know how any voice speaks.
"""

import logging
import time
from collections import deque

from backends.base import JobError, OutOfMemory, StepEngine, give_back
from backends.protocol import Capacity, Failed, FailureKind, Finished, Job, Output, StepStats
from backends.speech.item import SpeechItem
from backends.speech.rotation import Rotation
from backends.speech.stream import SpokenStream
from backends.speech.voice import Voice

log = logging.getLogger(__name__)


class SpeechEngine(StepEngine[SpeechItem]):
    """A step is one stretch of sound for one item.

    Several at a time, in threads, gained nothing where it was tried: all of a core's work is there in one
    stretch, and Python's lock between its parts cost a third.
    """

    def __init__(self, voice: Voice, most_streams: int) -> None:
        self._voice = voice
        self._most_streams = most_streams
        self._rotation: Rotation[SpokenStream] = Rotation()
        self._waiting: deque[SpokenStream] = deque()
        self._left: dict[str, int] = {}
        """Items of each open job that have not ended."""
        self._started: set[str] = set()
        self._stats = StepStats()

    def warm_up(self) -> None:
        self._voice.warm_up()

    def add(self, job: Job, items: list[SpeechItem]) -> None:
        self._left[job.id] = len(items)
        streams = [SpokenStream(job.id, index, item, job.priority) for index, item in enumerate(items)]
        self._waiting = deque(sorted([*self._waiting, *streams], key=lambda stream: -stream.priority))

    def step(self) -> list[Output]:
        started_at = time.monotonic()
        while self._waiting and len(self._rotation) < self._most_streams:
            self._rotation.join(self._waiting.popleft())
        stream = self._rotation.turn()
        self._announce(stream.job_id)
        outputs = self._settle(stream, self._advance(stream))
        self._stats = StepStats(
            step_s=time.monotonic() - started_at,
            running=len(self._rotation),
            batch_items=1,
            decode_tokens=stream.frames,
        )
        return outputs

    def abort(self, job_id: str) -> bool:
        if self._left.pop(job_id, None) is None:
            return False
        self._started.discard(job_id)
        self._rotation.leave(lambda stream: stream.job_id == job_id)
        self._waiting = deque(stream for stream in self._waiting if stream.job_id != job_id)
        return True

    def has_work(self) -> bool:
        return bool(self._waiting) or len(self._rotation) > 0

    def capacity(self) -> Capacity:
        return Capacity(self._most_streams - len(self._rotation), -1, len(self._waiting), 0)

    def stats(self) -> StepStats:
        return self._stats

    def requeue(self, max_queued: int) -> list[str]:
        unstarted = [job_id for job_id in reversed(self._left) if job_id not in self._started]
        return give_back(unstarted, self.abort, lambda: len(self._waiting), max_queued)

    def _announce(self, job_id: str) -> None:
        if job_id not in self._started:
            self._started.add(job_id)
            self.announce(job_id)

    def _advance(self, stream: SpokenStream) -> list[Output] | Exception:
        try:
            return stream.advance(self._voice)
        except Exception as error:  # it must fail its own job and no neighbour
            if not isinstance(error, JobError):
                log.exception("a text cannot be spoken")
            return error

    def _settle(self, stream: SpokenStream, came: list[Output] | Exception) -> list[Output]:
        job_id = stream.job_id
        if isinstance(came, Exception):
            self.abort(job_id)
            return [_failure(job_id, came)]
        if stream.is_done:
            self._rotation.leave(lambda other: other is stream)
            self._left[job_id] -= 1
            if self._left[job_id] == 0:
                self.abort(job_id)
                return [*came, Finished(job_id, stream.timings())]
        elif stream.ended_piece:
            self._rotation.yield_turn()
        return came


def _failure(job_id: str, error: Exception) -> Failed:
    if isinstance(error, JobError):
        return Failed(job_id, "invalid_request", error.message, error.param, error.code)
    kind: FailureKind = "out_of_memory" if isinstance(error, OutOfMemory | MemoryError) else "internal"
    return Failed(job_id, kind, f"the engine failed on this text: {type(error).__name__}")
