"""Live sessions on top of the engine for recordings: turns are heard like recordings, in their company.

Owns the sessions. A turn that has ended is a recording of its own for the engine below; so is what was said
so far in an open one, at a bounded rate, for text while one speaks. Must not know how anything is heard.
"""

import time
from collections.abc import Callable

from msgspec import Struct

from backends.base import SessionEngine, StepEngine
from backends.listening.listener import Listener
from backends.listening.listeners import Listeners
from backends.listening.stable import StableText
from backends.listening.turns import SAMPLE_BYTES
from backends.protocol import (
    Capacity,
    Failed,
    Finished,
    ItemDone,
    Job,
    Output,
    SessionInput,
    SessionParameters,
    StepStats,
    TranscribeParameters,
    TranscriptionResult,
    TurnDone,
    TurnFailed,
    TurnText,
)
from backends.whisper.live_audio import SpeechModel, WhisperEar
from backends.whisper.prepare import RecordingItem, checked_prompt
from backends.whisper.speech import SAMPLE_RATE

LONGEST_TURN_S = 28.0
"""Speech without a pause is cut here, so that the model hears a turn at once."""
LONGEST_BUFFER_S = 300.0
"""Of a session whose turns end by commit."""
PARTIAL_EVERY_S = 1.0
"""Of new audio, between two hypotheses about an open turn."""
_PARTIAL_SHARE = 0.5
"""Of the time, at most, that goes into one session's hypotheses."""


class _Hearing(Struct):
    """What the engine below hears for a session."""

    session_id: str
    turn: int
    final: bool
    began_at: float


class _Session(Struct):
    listener: Listener
    job: Job
    stable: StableText
    turn: int = 0
    """Whose text `stable` is."""
    hearing: str = ""
    """Id of what is being heard for it now; empty: nothing."""
    heard_samples: int = 0
    """Of the open turn, by its last hypothesis."""
    next_partial_at: float = 0.0


class LiveWhisper(SessionEngine[RecordingItem]):
    """`prompt_tokens` makes a prompt's tokens, `new_speech` a model of where somebody speaks."""

    def __init__(
        self,
        engine: StepEngine[RecordingItem],
        prompt_tokens: Callable[[str], list[int]],
        new_speech: Callable[[], SpeechModel],
    ) -> None:
        self._engine = engine
        self._prompt_tokens = prompt_tokens
        self._new_speech = new_speech
        self._listeners = Listeners()
        self._sessions: dict[str, _Session] = {}
        self._hearings: dict[str, _Hearing] = {}
        self._count = 0
        engine.announce = self._announce_recording

    def warm_up(self) -> None:
        self._engine.warm_up()

    def add(self, job: Job, items: list[RecordingItem]) -> None:
        self._engine.add(job, items)

    def abort(self, job_id: str) -> bool:
        session = self._sessions.pop(job_id, None)
        if session is None:
            return self._engine.abort(job_id)
        self._listeners.close(job_id)
        self._drop_hearing(session)
        return True

    def has_work(self) -> bool:
        return self._engine.has_work() or self._listeners.have_input()

    def capacity(self) -> Capacity:
        return self._engine.capacity()

    def stats(self) -> StepStats:
        return self._engine.stats()

    def requeue(self, max_queued: int) -> list[str]:
        return [job_id for job_id in self._engine.requeue(max_queued) if job_id not in self._hearings]

    # --- sessions -----------------------------------------------------------------------------------------

    def open_session(self, job: Job) -> None:
        parameters = job.parameters
        assert isinstance(parameters, SessionParameters)
        self._check(parameters)
        listener = Listener(
            job.id,
            parameters,
            WhisperEar(parameters.sample_rate, self._new_speech()),
            longest_s=LONGEST_TURN_S,
            longest_by_hand_s=LONGEST_BUFFER_S,
            check=self._check,
        )
        self._listeners.open(listener)
        self._sessions[job.id] = _Session(listener, job, StableText())

    def take_input(self, message: SessionInput) -> None:
        self._listeners.take(message)

    def backlog_bytes(self, job_id: str) -> int:
        return self._listeners.backlog_bytes(job_id)

    def _check(self, parameters: SessionParameters) -> None:
        """Raises JobError for what this model cannot be told."""
        checked_prompt(self._prompt_tokens(parameters.prompt))

    # --- one step -----------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        outputs = self._listeners.listen()
        for session in list(self._sessions.values()):
            outputs += self._go_on(session)
        if outputs:  # who speaks and who has stopped is told before the next call of the model, which is long
            return outputs
        heard = self._engine.step() if self._engine.has_work() else []
        for output in heard:
            outputs += self._translate(output)
        return outputs

    def _go_on(self, session: _Session) -> list[Output]:
        """Begin to hear what is to be heard next; the end of a session of which nothing is left."""
        listener = session.listener
        waiting = listener.waiting
        current = self._hearings.get(session.hearing)
        if waiting and (current is None or not current.final):
            self._drop_hearing(session)  # a hypothesis about a turn that has ended
            self._hear(session, waiting[0].index, waiting[0].pcm, final=True)
        elif current is None and self._is_time(session):
            self._hear(session, listener.turns.index, listener.turns.open_pcm or b"", final=False)
        elif listener.input_ended and not waiting:
            self.abort(session.job.id)
            return [Finished(session.job.id)]
        return []

    def _is_time(self, session: _Session) -> bool:
        turns = session.listener.turns
        if session.turn != turns.index:
            session.heard_samples = 0
        new = turns.open_samples - session.heard_samples
        return new >= PARTIAL_EVERY_S * SAMPLE_RATE and time.monotonic() >= session.next_partial_at

    def _hear(self, session: _Session, turn: int, pcm: bytes, *, final: bool) -> None:
        if session.turn != turn:
            session.turn, session.stable = turn, StableText()
        self._count += 1
        parameters = session.listener.parameters
        asked = TranscribeParameters(language=parameters.language, logprobs=parameters.logprobs and final)
        session.hearing = f"{session.job.id}/{self._count}"
        session.heard_samples = len(pcm) // SAMPLE_BYTES
        job = Job(session.hearing, session.job.model, "transcribe", asked, [], priority=session.job.priority)
        prompt = self._prompt_tokens(parameters.prompt)
        self._hearings[job.id] = _Hearing(session.job.id, turn, final, time.monotonic())
        self._engine.add(job, [RecordingItem(session.heard_samples, pcm, prompt=prompt)])

    def _drop_hearing(self, session: _Session) -> None:
        if self._hearings.pop(session.hearing, None):
            self._engine.abort(session.hearing)
        session.hearing = ""

    def _announce_recording(self, job_id: str) -> None:
        if job_id not in self._hearings:
            self.announce(job_id)

    # --- what was heard -----------------------------------------------------------------------------------

    def _translate(self, output: Output) -> list[Output]:
        hearing = self._hearings.get(output.job_id)
        if hearing is None:
            return [output]
        session = self._sessions[hearing.session_id]
        outputs: list[Output] = []
        match output:
            case ItemDone(result=TranscriptionResult() as result):
                outputs = self._heard(session, hearing, result)
            case Failed(message=message) if hearing.final:
                outputs = [TurnFailed(hearing.session_id, hearing.turn, message)]
        if isinstance(output, Finished | Failed):
            del self._hearings[output.job_id]
            session.hearing = ""
            if hearing.final:
                session.listener.waiting.popleft()
            took_s = time.monotonic() - hearing.began_at
            session.next_partial_at = time.monotonic() + took_s * (1 / _PARTIAL_SHARE - 1)
            outputs += self._go_on(session)
        return outputs

    def _heard(self, session: _Session, hearing: _Hearing, result: TranscriptionResult) -> list[Output]:
        session_id, turn = hearing.session_id, hearing.turn
        if not hearing.final:
            if turn != session.listener.turns.index:
                return []  # it was cleared meanwhile
            piece = session.stable.hear(result.text)
            return [TurnText(session_id, turn, piece)] if piece else []
        text = session.stable.finish(result.text)
        return [TurnDone(session_id, turn, text, result.duration_s, result.language, result.logprobs)]
