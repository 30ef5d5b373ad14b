"""The worker's account of its open sessions: what came for them, and how much more may come.

Owns the credit that keeps a fast client from filling the worker's memory. Must not know what an engine does
with the audio.
"""

from collections.abc import Iterable
from typing import Any

from backends.base import JobError, SessionEngine, StepEngine
from backends.protocol import (
    INPUT_CREDIT,
    Credit,
    Failed,
    Finished,
    Job,
    Output,
    SessionInput,
    input_cost,
)

_WORTH_TELLING = INPUT_CREDIT // 8
"""A credit that has grown by less is not told yet."""


class SessionDesk:
    """In front of an engine, which may or may not hold sessions."""

    def __init__(self, engine: StepEngine[Any]) -> None:
        self._engine = engine if isinstance(engine, SessionEngine) else None
        self._received: dict[str, int] = {}
        """Cost of all that has come, by session."""
        self._told: dict[str, int] = {}
        self.inputs = 0
        """Messages that have come, for whatever session."""

    def open(self, job: Job) -> None:
        """Raises JobError if the session cannot be had."""
        if self._engine is None:
            raise JobError("this model holds no sessions", param="model")
        self._engine.open_session(job)
        self._received[job.id] = 0
        self._told[job.id] = INPUT_CREDIT

    def take(self, message: SessionInput) -> None:
        self.inputs += 1
        if message.job_id not in self._received:
            return  # it has ended meanwhile
        assert self._engine is not None
        self._received[message.job_id] += input_cost(message)
        self._engine.take_input(message)

    def has_work(self) -> bool:
        return self._engine is not None and bool(self._received) and self._engine.has_work()

    def after(self, outputs: Iterable[Output]) -> list[Output]:
        """Close the sessions that have ended by these outputs; the credits worth telling of the others."""
        if self._engine is None or not self._received:
            return []
        for output in outputs:
            if isinstance(output, Finished | Failed):
                self._received.pop(output.job_id, None)
                self._told.pop(output.job_id, None)
        credits: list[Output] = []
        for job_id, received in self._received.items():
            total = received + INPUT_CREDIT - self._engine.backlog_bytes(job_id)
            if total - self._told[job_id] >= _WORTH_TELLING:
                self._told[job_id] = total
                credits.append(Credit(job_id, total))
        return credits
