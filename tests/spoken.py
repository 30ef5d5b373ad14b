"""What tests do with speech: ask a voice for it, decode what came, and the sentences that it is judged by."""

import io
from collections.abc import Sequence

import av
import numpy as np
import numpy.typing as npt

from backends.protocol import (
    AudioDelta,
    AudioFormat,
    Failed,
    ItemDone,
    Job,
    Output,
    SpeakParameters,
    SpeechResult,
    Text,
)
from backends.speech.encoding import PCM_RATE
from backends.speech.engine import SpeechEngine
from backends.speech.prepare import SpeechPreparer

HARVARD = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
    "The girl at the booth sold fifty bonds.",
)
"""Lists 1 and 2 of IEEE Recommended Practice for Speech Quality Measurements, 1969 (Harvard sentences)."""


def speak_job(name: str, *texts: str, **asked: object) -> Job:
    parameters = SpeakParameters(**{"format": "pcm", **asked})  # type: ignore[arg-type]
    return Job(name, "voice", "speak", parameters, [Text(text) for text in texts], stream=True)


class Speaker:
    """A preparer and an engine, as a worker has them."""

    def __init__(self, preparer: SpeechPreparer, engine: SpeechEngine) -> None:
        self.preparer = preparer
        self.engine = engine

    def add(self, name: str, *texts: str, **asked: object) -> None:
        job = speak_job(name, *texts, **asked)
        self.engine.add(job, self.preparer.prepare(job))

    def drain(self) -> list[Output]:
        outputs: list[Output] = []
        while self.engine.has_work():
            outputs += self.engine.step()
        return outputs

    def say(self, text: str, **asked: object) -> bytes:
        """The audio of one text, alone."""
        self.add("said", text, **asked)
        return audio(self.drain(), "said")


def audio(outputs: Sequence[Output], name: str) -> bytes:
    assert not [output for output in outputs if isinstance(output, Failed) and output.job_id == name]
    return b"".join(
        output.data for output in outputs if isinstance(output, AudioDelta) and output.job_id == name
    )


def result(outputs: Sequence[Output], name: str) -> SpeechResult:
    done = next(output for output in outputs if isinstance(output, ItemDone) and output.job_id == name)
    assert isinstance(done.result, SpeechResult)
    return done.result


def decoded(data: bytes, format: AudioFormat) -> tuple[npt.NDArray[np.float32], int]:
    """Samples and rate, as a player would have them."""
    if format == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768, PCM_RATE
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("flt", "mono", stream.rate)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), stream.rate
