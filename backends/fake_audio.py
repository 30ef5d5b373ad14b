"""What the fake model hears and says aloud: scripted like its texts, and paced like them. Pure.

A recording's bytes are read as a script: `@tokens:N` segments (or what the model is set to) of a second each,
`@say TEXT` a segment a word. Without `@say`, segment i is ` s<i>-<hash>`, of the recording's own hash, so
that equal files give equal transcripts. A spoken text is scripted by its directives; `@tokens:N` pieces of a
tenth of a second each. `wav` and `pcm` are real audio, a tone; of other formats only the first bytes are.
"""

import math
import struct
from array import array
from sys import byteorder

from backends.base import JobError
from backends.fake_answers import FakeItem, directives
from backends.fake_media import read_script
from backends.protocol import (
    AudioDelta,
    Item,
    Job,
    Output,
    SpeakParameters,
    SpeechResult,
    Text,
    TokenLogprob,
    TranscribeParameters,
    TranscriptDelta,
    TranscriptionResult,
    TranscriptSegment,
    TranscriptWord,
)

AUDIO_TASKS = ("transcribe", "translate", "speak")
VOICES = ["low", "high"]
VOICE_ALIASES = {"alloy": "low", "nova": "high"}
LANGUAGES = ["en", "de"]
SAMPLE_RATE = 24_000
HONOURED = {
    "transcribe": [
        "language",
        "prompt",
        "temperature",
        "word_timestamps",
        "logprobs",
        "voice_activity",
        "seed",
    ],
    "speak": ["voice", "speed", "response_format", "stream_format", "language", "instructions", "seed"],
}
_PIECE_S = 0.1
_PITCH_HZ = {"low": 110.0, "high": 440.0}
_MAGIC = {"mp3": b"ID3\4", "opus": b"OggS", "aac": b"\xff\xf1", "flac": b"fLaC"}


def hear(item: Item) -> FakeItem:
    """A recording as its script and its hash. Raises JobError."""
    return read_script(item, "file", "invalid_audio")


def read_aloud(item: Item) -> FakeItem:
    """Raises JobError."""
    if not isinstance(item, Text):
        raise JobError("only a text can be spoken", param="input")
    return FakeItem(item.text, len(item.text.split()) or 1)


class FakeTranscript:
    """A transcript on its way, a segment a step."""

    def __init__(self, job: Job, index: int, item: FakeItem, *, tokens: int, step_ms: float) -> None:
        assert isinstance(job.parameters, TranscribeParameters)
        self.job = job
        self.index = index
        self.script = directives(item.text)
        self.limit = self.script.get("tokens", tokens) if item.said is None else len(item.said)
        self.step_s = self.script.get("slow", step_ms) / 1000
        self.done = 0
        self._asked = job.parameters
        self._item = item
        self._segments: list[TranscriptSegment] = []
        self._logprobs: list[TokenLogprob] = []

    def advance(self) -> list[Output]:
        segment = self._segment(self.done)
        logprobs = [TokenLogprob(segment.text.encode(), -0.5)] if self._asked.logprobs else []
        self.done += 1
        self._segments.append(segment)
        self._logprobs += logprobs
        return [TranscriptDelta(self.job.id, self.index, [segment], logprobs)] if self.job.stream else []

    def result(self) -> TranscriptionResult:
        text = "".join(segment.text for segment in self._segments).strip()
        return TranscriptionResult(
            text,
            self._asked.language or LANGUAGES[0],
            float(self.limit),
            self._segments,
            1.0 if self._asked.language else 0.5,
            self._logprobs,
        )

    def _segment(self, index: int) -> TranscriptSegment:
        item = self._item
        text = f"s{index}-{item.digest}" if item.said is None else item.said[index].strip()
        words = [TranscriptWord(f" {text}", float(index), index + 0.5, 0.9)]
        return TranscriptSegment(
            index,
            float(index),
            index + 1.0,
            f" {text}",
            tokens=[index],
            temperature=self._asked.temperature or 0.0,
            avg_logprob=-0.5,
            compression_ratio=1.0,
            words=words if self._asked.word_timestamps else [],
        )


class FakeSpeech:
    """A text on its way to be spoken, a tenth of a second a step."""

    def __init__(self, job: Job, index: int, item: FakeItem, *, tokens: int, step_ms: float) -> None:
        assert isinstance(job.parameters, SpeakParameters)
        self.job = job
        self.index = index
        self.script = directives(item.text)
        self.limit = self.script.get("tokens", tokens)
        self.step_s = self.script.get("slow", step_ms) / 1000
        self.done = 0
        self._asked = job.parameters
        self._item = item

    def advance(self) -> list[Output]:
        head = b"" if self.done else _head(self._asked.format)
        self.done += 1
        return [AudioDelta(self.job.id, self.index, head + self._tone())]

    def result(self) -> SpeechResult:
        return SpeechResult(self.limit * _PIECE_S, self._item.tokens, self.limit)

    def _tone(self) -> bytes:
        name = VOICE_ALIASES.get(self._asked.voice, self._asked.voice) or VOICES[0]
        step = 2 * math.pi * _PITCH_HZ[name] / SAMPLE_RATE
        count = int(_PIECE_S * SAMPLE_RATE / self._asked.speed)
        samples = array("h", (int(8000 * math.sin(step * index)) for index in range(count)))
        if byteorder == "big":
            samples.byteswap()
        return samples.tobytes()


def _head(form: str) -> bytes:
    """What a file begins with. The lengths in a WAV's are as large as can be: its end is not known."""
    if form == "wav":
        rate = SAMPLE_RATE
        return struct.pack(
            "<4sI4s4sIHHIIHH4sI",
            b"RIFF",
            2**32 - 1,
            b"WAVE",
            b"fmt ",
            16,
            1,
            1,
            rate,
            2 * rate,
            2,
            16,
            b"data",
            2**32 - 1,
        )
    return _MAGIC.get(form, b"")
