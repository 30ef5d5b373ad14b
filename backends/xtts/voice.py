"""XTTS, loaded: sentences in, sound at 24 kHz out, in stretches of about a second."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from msgspec import Struct

from backends.base import JobError, OutOfMemory
from backends.speech.item import Piece, SpeechItem
from backends.speech.voice import Spoken, Voice
from backends.xtts.latents import Latents
from config.parameters import XttsParameters

_HOP = 256
"""Samples of a frame of the vocoder's."""
_SEEDS = 2**63
_NOTHING = np.zeros(0, np.float32)


class Sampling(Struct, frozen=True):
    """How audio tokens are drawn, and how many make a stretch."""

    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
    length_penalty: float
    stream_chunk_size: int

    @classmethod
    def of(cls, model: Any, parameters: XttsParameters) -> "Sampling":
        """What the configuration says, else what the checkpoint does."""

        def value(name: str) -> Any:
            configured = getattr(parameters, name)
            return getattr(model.config, name) if configured is None else configured

        names = ("temperature", "top_k", "top_p", "repetition_penalty", "length_penalty")
        return cls(**{name: value(name) for name in names}, stream_chunk_size=parameters.stream_chunk_tokens)


class XttsVoice(Voice):
    """One sentence at a time: the model keeps the sentence that it is speaking in itself."""

    sample_rate = 24000
    # The library stretches latents: far from 1 that is heard, so that the rest is stretched as sound.
    slowest, fastest = 0.8, 1.25

    def __init__(self, model: Any, latents: Mapping[str, Latents], sampling: Sampling, language: str) -> None:
        self._model = model
        self._language = language
        self._latents = latents
        self._sampling = {name: getattr(sampling, name) for name in sampling.__struct_fields__}

    def warm_up(self) -> None:
        voice = next(iter(self._latents))
        item = SpeechItem([Piece("Hi.")], voice, self._language, 1.0, "pcm", seed=0)
        if not sum(len(spoken.samples) for spoken in self.read(item, 1.0)):
            raise ValueError("the model makes no sound")

    def read(self, item: SpeechItem, speed: float) -> Iterator[Spoken]:
        for index, piece in enumerate(item.pieces):
            # torch draws from one source for the whole process: set for each sentence, it gives the same
            # sound in any company.
            torch.manual_seed(torch.seed() if item.seed is None else (item.seed + index) % _SEEDS)
            tokens = self._tokens(piece.text, item.language)
            for stretch in self._stretches(piece.text, item, speed):
                samples = stretch.float().cpu().numpy().reshape(-1)
                yield Spoken(samples, 0, len(samples) // _HOP, ends_piece=False)
            yield Spoken(_NOTHING, tokens, 0)  # only now is it known that there is no more

    def _tokens(self, text: str, language: str) -> int:
        count, most = (
            len(self._model.tokenizer.encode(text, lang=language)),
            self._model.args.gpt_max_text_tokens,
        )
        if count >= most:
            raise JobError(
                f"A sentence has {count} tokens; this model reads at most {most - 1}.", param="input"
            )
        return count

    def _stretches(self, text: str, item: SpeechItem, speed: float) -> Iterator[Any]:
        voice = self._latents[item.voice]
        try:
            yield from self._model.inference_stream(
                text, item.language, voice.gpt, voice.speaker, speed=speed, **self._sampling
            )
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(str(error)) from None
