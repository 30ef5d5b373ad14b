"""One text that is being spoken: from the voice through tempo and encoder to bytes."""

import time
from collections.abc import Iterator

import numpy as np

from backends.protocol import MAX_AUDIO_DELTA_BYTES, AudioDelta, ItemDone, Output, SpeechResult, Timings
from backends.speech.encoding import Encoder, Samples, open_encoder
from backends.speech.item import SpeechItem
from backends.speech.tempo import Tempo, split_speed
from backends.speech.voice import Spoken, Voice


class SpokenStream:
    """Item `index` of a job. Nothing is opened before the first `advance`."""

    def __init__(self, job_id: str, index: int, item: SpeechItem, priority: int) -> None:
        self.job_id = job_id
        self.priority = priority
        self.index = index
        self.frames = 0
        """Made by the last advance."""
        self.ended_piece = False
        """Whether the last advance came to a piece's end."""
        self._item = item
        self._pieces_left = len(item.pieces)
        self._stretches: Iterator[Spoken] | None = None
        self._encoder: Encoder
        self._tempo: Tempo | None = None
        self._rate = 0
        self._samples = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self._added_at = time.monotonic()
        self._started_at = 0.0
        self._first_at = 0.0

    @property
    def is_done(self) -> bool:
        return self._pieces_left == 0

    def advance(self, voice: Voice) -> list[Output]:
        """Speak the next stretch. What comes of it; with the last one also the item's end."""
        if self._stretches is None:
            self._open(voice)
        assert self._stretches is not None
        stretch = next(self._stretches)
        self._first_at = self._first_at or time.monotonic()
        self.frames, self.ended_piece = stretch.output_tokens, stretch.ends_piece
        self._pieces_left -= stretch.ends_piece
        self._input_tokens += stretch.input_tokens
        self._output_tokens += stretch.output_tokens
        data = self._encoded(stretch.samples)
        outputs: list[Output] = [
            AudioDelta(self.job_id, self.index, data[at : at + MAX_AUDIO_DELTA_BYTES])
            for at in range(0, len(data), MAX_AUDIO_DELTA_BYTES)
        ]
        if self.is_done:
            outputs.append(ItemDone(self.job_id, self.index, self._result()))
        return outputs

    def timings(self) -> Timings:
        return Timings(
            queue_s=self._started_at - self._added_at,
            prefill_s=self._first_at - self._started_at,
            decode_s=time.monotonic() - self._first_at,
        )

    def _open(self, voice: Voice) -> None:
        self._started_at = time.monotonic()
        self._rate = voice.sample_rate
        own, rest = split_speed(self._item.speed, voice.slowest, voice.fastest)
        if rest != 1.0:
            self._tempo = Tempo(rest, voice.sample_rate)
        self._encoder = open_encoder(self._item.format, voice.sample_rate)
        self._stretches = voice.read(self._item, own)

    def _encoded(self, samples: Samples) -> bytes:
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if self._tempo is not None:
            samples = self._tempo.write(samples, is_last=self.is_done)
        self._samples += len(samples)
        return self._encoder.write(samples, is_last=self.is_done)

    def _result(self) -> SpeechResult:
        return SpeechResult(self._samples / self._rate, self._input_tokens, self._output_tokens)
