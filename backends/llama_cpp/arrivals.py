"""Jobs whose pictures and sound are being read, one after the other, the most deserving first.

Owns them until their prompts are known; then they are the roster's. Must not decode anything.
"""

import logging
from bisect import insort
from collections.abc import Callable
from itertools import count
from operator import attrgetter

from msgspec import Struct

from backends.base import JobError
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.encoder import MediaReader, Reading
from backends.llama_cpp.making import SequenceMaker
from backends.llama_cpp.sequence import JobState
from backends.protocol import Failed

log = logging.getLogger(__name__)

_HANGS_S = 900.0
"""A projector that is busy with one job for longer does not come back."""

_IDLE_WAIT_S = 0.01
"""Where there is nothing to do but wait for what is being read, a step waits this long."""

_by_rank = attrgetter("rank")


class Arrival(Struct, eq=False):
    state: JobState
    items: list[PreparedPrompt]
    rank: tuple[int, int]

    def discard(self) -> None:
        for item in self.items:
            item.discard()


class Arrivals:
    """`reader`: None where the model takes text only."""

    def __init__(self, reader: MediaReader | None, clock: Callable[[], float]) -> None:
        self._reader = reader
        self._clock = clock
        self._numbers = count()
        self._waiting: list[Arrival] = []
        self._now: Arrival | None = None
        """The one that is being read."""
        self._reading: Reading | None = None
        """What the reader is at, also after nobody wants it any more."""
        self._begun_at = 0.0

    def __len__(self) -> int:
        """Answers that wait for their prompts."""
        here = self._waiting if self._now is None else [*self._waiting, self._now]
        return sum(one.state.job.result_count for one in here)

    def add(self, state: JobState, items: list[PreparedPrompt]) -> None:
        """Raises JobError."""
        if self._reader is None:
            raise JobError("this model takes text only", param="messages")
        rank = (-state.job.priority, next(self._numbers))
        insort(self._waiting, Arrival(state, items, rank), key=_by_rank)

    def begin(self, announce: Callable[[str], None]) -> None:
        """Let the next be read if nothing is, and `announce` it before. Raises RuntimeError at a hang."""
        now = self._clock()
        if self._reading is not None and not self._reading.wait(0.0):
            if now - self._begun_at > _HANGS_S:
                raise RuntimeError(f"the projector has been at one request for {_HANGS_S:g} s")
            return
        if self._now is not None or not self._waiting or self._reader is None:
            return
        self._now = self._waiting.pop(0)
        self._begun_at = self._now.state.started_at = now
        announce(self._now.state.job.id)
        self._reading = self._reader.begin(self._now.items)

    def take(self, maker: SequenceMaker, *, idle: bool) -> JobState | Failed | None:
        """A job that has been read, with its sequences. `idle`: nobody minds waiting a little."""
        arrival, reading = self._now, self._reading
        if reading is None or not reading.wait(_IDLE_WAIT_S if idle else 0.0) or arrival is None:
            return None
        self._now = self._reading = None
        job_id = arrival.state.job.id
        try:
            arrival.state.sequences = maker.sequences(arrival.state, arrival.items, reading.result())
        except JobError as error:
            return Failed(job_id, "invalid_request", error.message, error.param, error.code)
        except Exception:  # edge of the reader's thread: it must fail the job
            log.exception("pictures or sound could not be read")
            return Failed(job_id, "internal", "the model's projector failed on this request")
        return arrival.state

    def drop(self, job_id: str) -> bool:
        """False: it is not here."""
        if self._now is not None and self._now.state.job.id == job_id and self._reading is not None:
            self._reading.give_up()  # and the reader discards its items
            self._now = None
            return True
        for one in self._waiting:
            if one.state.job.id == job_id:
                self._waiting.remove(one)
                one.discard()
                return True
        return False

    def requeue(self, max_queued: int) -> list[str]:
        """Drop jobs that nobody reads yet, the least deserving first, until only so many answers wait."""
        dropped: list[str] = []
        while self._waiting and len(self) > max_queued:
            one = self._waiting.pop()
            one.discard()
            dropped.append(one.state.job.id)
        return dropped

    def warm_up(self) -> None:
        if self._reader is not None:
            self._reader.warm_up()

    def close(self) -> None:
        for one in self._waiting:
            one.discard()
        self._waiting.clear()
        if self._reading is not None:
            self._reading.give_up()
        if self._reader is not None:
            self._reader.close()
