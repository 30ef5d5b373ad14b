"""A voice that hums and writes down what it was asked."""

from collections.abc import Iterator

import numpy as np

from backends.base import OutOfMemory
from backends.protocol import AudioDelta, Job, Output, SpeakParameters, Text
from backends.speech.engine import SpeechEngine
from backends.speech.item import Piece, SpeechItem
from backends.speech.voice import Spoken, Voice


class Humming(Voice):
    """A tenth of a second for each character of a piece, `stretches` to a piece.

    A piece `!` fails, `M` has no memory.
    """

    sample_rate = 24000
    slowest, fastest = 0.5, 2.0

    def __init__(self, stretches: int = 1) -> None:
        self.stretches = stretches
        self.log: list[str] = []
        self.speeds: list[float] = []

    def warm_up(self) -> None:
        self.log.append("warm up")

    def read(self, item: SpeechItem, speed: float) -> Iterator[Spoken]:
        self.speeds.append(speed)
        for piece in item.pieces:
            self._strike(piece.text)
            for stretch in range(1, self.stretches + 1):
                self.log.append(piece.text)
                samples = np.full(2400 * len(piece.text) // self.stretches, 0.1, np.float32)
                yield Spoken(samples, len(piece.text), 1, ends_piece=stretch == self.stretches)

    def _strike(self, text: str) -> None:
        if text == "!":
            raise RuntimeError("as asked")
        if text == "M":
            raise OutOfMemory("as asked")


def item(*pieces: str, speed: float = 1.0) -> SpeechItem:
    return SpeechItem([Piece(piece) for piece in pieces], "hum", "en", speed, "pcm")


def job(name: str, items: int = 1) -> Job:
    return Job(name, "hum", "speak", SpeakParameters(format="pcm"), [Text("x")] * items)


def drain(engine: SpeechEngine) -> list[Output]:
    outputs: list[Output] = []
    while engine.has_work():
        outputs += engine.step()
    return outputs


def audio(outputs: list[Output], name: str, index: int = 0) -> bytes:
    return b"".join(
        o.data for o in outputs if isinstance(o, AudioDelta) and (o.job_id, o.item) == (name, index)
    )
