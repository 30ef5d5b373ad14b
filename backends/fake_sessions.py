"""Live sessions of the fake engine: what is loud is speech, and a transcript counts the audio.

Each quarter of a second of a turn is the word `w<i>`; all but the last go out while the turn is open. A
session's prompt scripts it as that of a job does, see backends/fake.py: `@die:N @hang:N @error:N …` strike
after N turns, `@slow:MS` is the time that every step takes while the session has input.
"""

import time
from array import array

from backends.base import JobError, SessionEngine
from backends.fake import FakeParameters, FakeStepEngine
from backends.fake_answers import FakeItem, directives
from backends.fake_faults import strike
from backends.listening.listener import Listener
from backends.listening.listeners import Listeners
from backends.listening.turns import SAMPLE_BYTES, Turn
from backends.protocol import (
    Finished,
    Job,
    Output,
    SessionInput,
    SessionParameters,
    TokenLogprob,
    TurnDone,
    TurnFailed,
    TurnText,
)

LONGEST_TURN_S = 30.0
_LOUD = 500
_FRAME_MS = 32
_WORD_MS = 250


class LoudnessEar:
    """Hears at the session's own rate; a frame is speech if its mean amplitude is over a fixed one."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.frame_bytes = rate * _FRAME_MS // 1000 * SAMPLE_BYTES

    def convert(self, pcm: bytes) -> bytes:
        return pcm

    def probabilities(self, frames: bytes) -> list[float]:
        size = self.frame_bytes // SAMPLE_BYTES
        samples = array("h", frames)
        loudness = [sum(map(abs, samples[at : at + size])) / size for at in range(0, len(samples), size)]
        return [float(loud > _LOUD) for loud in loudness]


class FakeSessionEngine(FakeStepEngine, SessionEngine[FakeItem]):
    def __init__(self, parameters: FakeParameters) -> None:
        super().__init__(parameters)
        self._listeners = Listeners()
        self._said: dict[str, tuple[int, str]] = {}
        """By session: the turn of which pieces have gone out, and those pieces together."""

    def open_session(self, job: Job) -> None:
        parameters = job.parameters
        assert isinstance(parameters, SessionParameters)
        if "refuse" in directives(parameters.prompt):
            raise JobError("refused as scripted", param="prompt", code="scripted")
        ear = LoudnessEar(parameters.sample_rate)
        self._listeners.open(
            Listener(job.id, parameters, ear, longest_s=LONGEST_TURN_S, longest_by_hand_s=LONGEST_TURN_S)
        )

    def take_input(self, message: SessionInput) -> None:
        self._listeners.take(message)

    def backlog_bytes(self, job_id: str) -> int:
        return self._listeners.backlog_bytes(job_id)

    def has_work(self) -> bool:
        return super().has_work() or self._listeners.have_input()

    def abort(self, job_id: str) -> bool:
        self._said.pop(job_id, None)
        return self._listeners.close(job_id) or super().abort(job_id)

    def step(self) -> list[Output]:
        outputs = super().step() if super().has_work() else []
        for listener in list(self._listeners):
            if listener.has_input:
                time.sleep(directives(listener.parameters.prompt).get("slow", 0) / 1000)
        outputs += self._listeners.listen()
        for listener in list(self._listeners):
            outputs += self._transcribe(listener)
        return outputs

    def _transcribe(self, listener: Listener) -> list[Output]:
        outputs: list[Output] = []
        while listener.waiting:
            outputs.append(self._done(listener, listener.waiting.popleft()))
        outputs += self._partial(listener)
        if listener.input_ended:
            self.abort(listener.job_id)
            outputs.append(Finished(listener.job_id))
        return outputs

    def _partial(self, listener: Listener) -> list[Output]:
        turns = listener.turns
        words = _words(turns.open_samples, turns.rate)[:-1]
        turn, said = self._said.get(listener.job_id, (-1, ""))
        if turn != turns.index:
            said = ""
        text = " ".join(words)
        if len(text) <= len(said):
            return []
        self._said[listener.job_id] = (turns.index, text)
        return [TurnText(listener.job_id, turns.index, text[len(said) :])]

    def _done(self, listener: Listener, turn: Turn) -> Output:
        script = directives(listener.parameters.prompt)
        strike(script, turn.index)
        if script.get("error", -1) == turn.index:
            return TurnFailed(listener.job_id, turn.index, "failed as scripted")
        rate = listener.turns.rate
        samples = len(turn.pcm) // SAMPLE_BYTES
        words = _words(samples, rate)
        logprobs = [TokenLogprob(word.encode(), -0.5) for word in words if listener.parameters.logprobs]
        return TurnDone(
            listener.job_id,
            turn.index,
            " ".join(words),
            samples / rate,
            listener.parameters.language or "en",
            logprobs,
        )


def _words(samples: int, rate: int) -> list[str]:
    return [f"w{i}" for i in range(samples * 1000 // (_WORD_MS * rate))]
