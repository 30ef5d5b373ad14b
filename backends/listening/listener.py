"""One session's input, worked off in the order in which it came.

Owns the queue of inputs, the turns that wait for their transcript, and the outputs about turns. A backend
gives it ears: how likely a frame is speech, and how the session's audio becomes that of its model.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from backends.base import JobError
from backends.listening.turns import Began, Ended, NothingToCommit, TooLong, Turn, Turns
from backends.protocol import (
    Clear,
    Cleared,
    Commit,
    Committed,
    EndInput,
    Feed,
    InputRefused,
    Output,
    Reconfigure,
    SessionInput,
    SessionParameters,
    SpeechStarted,
    SpeechStopped,
    input_cost,
)


class Ear(Protocol):
    """Of one session."""

    rate: int
    """Of the audio that it gives and judges, hertz."""
    frame_bytes: int

    def convert(self, pcm: bytes) -> bytes:
        """The session's audio at `rate`; some of it may come with the next call."""
        ...

    def probabilities(self, frames: bytes) -> list[float]:
        """How likely it is that somebody speaks in each of these whole frames, the next in order."""
        ...


class Listener:
    """`longest_s` bounds a turn that ends by silence, `longest_by_hand_s` one that ends by commit.

    `check` raises JobError for parameters that cannot be had.
    """

    def __init__(
        self,
        job_id: str,
        parameters: SessionParameters,
        ear: Ear,
        *,
        longest_s: float,
        longest_by_hand_s: float,
        check: Callable[[SessionParameters], None] = lambda parameters: None,
    ) -> None:
        self.job_id = job_id
        self.parameters = parameters
        self.turns = Turns(
            ear.rate, parameters.voice_activity, longest_s=longest_s, longest_by_hand_s=longest_by_hand_s
        )
        self._check = check
        self.waiting: deque[Turn] = deque()
        """Committed turns without a transcript yet, in order."""
        self.input_ended = False
        """No more turns come."""
        self._ear = ear
        self._inbox: deque[SessionInput] = deque()
        self._inbox_bytes = 0
        self._unjudged = bytearray()
        self._overflowed = False

    def take(self, message: SessionInput) -> None:
        self._inbox.append(message)
        if isinstance(message, Feed):
            self._inbox_bytes += len(message.data)

    @property
    def has_input(self) -> bool:
        return bool(self._inbox)

    @property
    def backlog_bytes(self) -> int:
        return self._inbox_bytes + len(self._unjudged) + sum(len(turn.pcm) for turn in self.waiting)

    def listen(self, enough: int) -> list[Output]:
        """Work off inputs until they cost as much as this, by input_cost, or none is left."""
        outputs: list[Output] = []
        while self._inbox and enough > 0:
            message = self._inbox.popleft()
            enough -= input_cost(message)
            outputs += self._work_off(message)
        return outputs

    def _work_off(self, message: SessionInput) -> list[Output]:
        match message:
            case Feed(data=data):
                self._inbox_bytes -= len(data)
                return self._hear(data)
            case Commit(tag=tag):
                return self._commit(tag)
            case Clear():
                self.turns.clear()
                self._unjudged.clear()
                self._overflowed = False
                return [Cleared(self.job_id)]
            case Reconfigure():
                return self._reconfigure(message)
            case EndInput():
                return self._end()

    def _reconfigure(self, message: Reconfigure) -> list[Output]:
        try:
            self._check(message.parameters)
        except JobError as error:
            return [InputRefused(self.job_id, message.tag, error.message, error.param, error.code)]
        self.parameters = message.parameters
        self.turns.configure(message.parameters.voice_activity)
        return []

    def _hear(self, data: bytes) -> list[Output]:
        self._unjudged += self._ear.convert(data)
        if self.turns.manual:
            return self._keep()
        outputs: list[Output] = []
        size = self._ear.frame_bytes
        whole = len(self._unjudged) // size * size
        audio = bytes(self._unjudged[:whole])
        del self._unjudged[:whole]
        for place, probability in enumerate(self._ear.probabilities(audio)):
            for change in self.turns.judge(audio[place * size : (place + 1) * size], probability):
                outputs += self._told(change)
        return outputs

    def _keep(self) -> list[Output]:
        audio = bytes(self._unjudged)
        self._unjudged.clear()
        try:
            self.turns.take(audio)
        except TooLong:
            if self._overflowed:
                return []
            self._overflowed = True
            return [_refused(self.job_id, "", *_FULL)]
        return []

    def _commit(self, tag: str) -> list[Output]:
        rest = b""
        if self.turns.open_samples:
            # The rest of a frame belongs to the turn that it was said in.
            rest = bytes(self._unjudged)
            self._unjudged.clear()
        try:
            ended = self.turns.commit(rest)
        except NothingToCommit:
            return [_refused(self.job_id, tag, *_EMPTY)]
        self._overflowed = False
        self.waiting.append(ended.audio)
        return [Committed(self.job_id, ended.turn)]

    def _end(self) -> list[Output]:
        self.input_ended = True
        if not self.turns.open_samples:
            return []
        try:
            ended = self.turns.commit()
        except NothingToCommit:
            return []
        return self._told(ended)

    def _told(self, change: Began | Ended) -> list[Output]:
        if isinstance(change, Began):
            return [SpeechStarted(self.job_id, change.turn, change.start_ms)]
        self.waiting.append(change.audio)
        committed = Committed(self.job_id, change.turn)
        if not change.told:
            return [committed]
        return [SpeechStopped(self.job_id, change.turn, change.end_ms), committed]


_EMPTY = ("The audio buffer holds less than 100 ms of audio.", "input_audio_buffer_commit_empty")
_FULL = (
    "The audio buffer is full; audio is dropped until it is committed or cleared.",
    "input_audio_buffer_full",
)


def _refused(job_id: str, tag: str, message: str, code: str) -> InputRefused:
    return InputRefused(job_id, tag, message, "", code)
