"""The sessions of an engine, for those that listen through a Listener each.

Owns who is open and what of their input is worked off in a step. Must not transcribe: `waiting` turns are
the engine's to take, and it ends a session whose input has ended once all of them are done.
"""

from collections.abc import Iterator

from backends.listening.listener import Listener
from backends.protocol import INPUT_CREDIT, Output, SessionInput

INPUT_A_STEP = INPUT_CREDIT // 4
"""Of one session, worked off between two steps of everybody else's work: five seconds of audio, so that who
speaks keeps up however long those steps are, and who sends a file does not stop them."""


class Listeners:
    """Open sessions by job id."""

    def __init__(self) -> None:
        self._open: dict[str, Listener] = {}

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._open.values())

    def open(self, listener: Listener) -> None:
        self._open[listener.job_id] = listener

    def get(self, job_id: str) -> Listener | None:
        return self._open.get(job_id)

    def close(self, job_id: str) -> bool:
        """False: not known here."""
        return self._open.pop(job_id, None) is not None

    def take(self, message: SessionInput) -> None:
        if listener := self._open.get(message.job_id):
            listener.take(message)

    def backlog_bytes(self, job_id: str) -> int:
        listener = self._open.get(job_id)
        return listener.backlog_bytes if listener else 0

    def have_input(self) -> bool:
        return any(listener.has_input for listener in self._open.values())

    def listen(self) -> list[Output]:
        """Work off a share of every session's input."""
        return [output for listener in self._open.values() for output in listener.listen(INPUT_A_STEP)]
