"""The model itself: sound of several windows in, what it wrote about each out.

Owns every use of ctranslate2. Must not know jobs, recordings or what is tried next.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import ctranslate2
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from backends.whisper.attempts import Score, compression_ratio
from backends.whisper.vocabulary import MAX_TOKENS, Vocabulary
from backends.whisper.windows import FRAMES_PER_S

Features = npt.NDArray[np.float32]
_TOKENS_PER_S = 20
_TOKENS_BESIDE = 32
"""A window's text has at most so many tokens a second and beside: more than any speech, a bound on loops."""
_MAX_INITIAL_TIMESTAMP = 50
"""The first timestamp is at most one second, in units of 20 ms: as in Whisper's own decoding."""


class Request(Struct, frozen=True):
    """What is asked about one window."""

    features: Features
    """[mel bands, frames]"""
    prompt: list[int]
    language: str
    """Empty: to be found out before anything is written."""
    translate: bool


class Sound(Struct, frozen=True, eq=False):
    """What the encoder gave for a window: a row of a call's output."""

    output: Any
    row: int
    frames: int
    """Of the window."""


class Heard(Struct, frozen=True):
    tokens: list[int]
    text: str
    score: Score
    logprobs: list[float]
    """Of each token; empty unless asked for."""


class Decoding(Struct, frozen=True):
    beam_size: int
    best_of: int


class Model(Protocol):
    """The part of ctranslate2.models.Whisper that is used."""

    def encode(self, features: Any, to_cpu: bool = False) -> Any: ...
    def detect_language(self, features: Any) -> list[list[tuple[str, float]]]: ...
    def generate(self, features: Any, prompts: list[list[int]], **options: Any) -> list[Any]: ...
    def align(
        self, features: Any, start_sequence: list[int], text_tokens: list[list[int]], num_frames: list[int]
    ) -> list[Any]: ...


class Hearing:
    """Encoded windows: heard once, asked about as often as needed."""

    def __init__(self, model: Model, vocabulary: Vocabulary, decoding: Decoding) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._decoding = decoding

    def encode(self, requests: Sequence[Request], frames: int) -> Any:
        """The encoder's output for windows of so many frames; shorter sound is filled up."""
        bands = requests[0].features.shape[0]
        batch = np.zeros((len(requests), bands, frames), np.float32)
        for row, request in zip(batch, requests, strict=True):
            length = min(frames, request.features.shape[1])
            row[:, :length] = request.features[:, :length]
        return self._model.encode(ctranslate2.StorageView.from_array(batch))

    def languages(self, encoded: Any) -> list[tuple[str, float]]:
        """The likeliest language of each window, and how likely."""
        found = self._model.detect_language(encoded)
        return [(ranked[0][0].strip("<|>"), float(ranked[0][1])) for ranked in found]

    def write(
        self, encoded: Any, requests: Sequence[Request], frames: int, temperature: float, logprobs: bool
    ) -> list[Heard]:
        """What was said in each window. Prompts must be of one length, and languages known."""
        prompts = [
            self._vocabulary.context(request.prompt, request.language, request.translate)
            for request in requests
        ]
        results = self._model.generate(
            encoded,
            prompts,
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=logprobs,
            max_initial_timestamp_index=_MAX_INITIAL_TIMESTAMP,
            max_length=self._max_length(len(prompts[0]), frames),
            **self._sampling(temperature, logprobs),
        )
        return [self._heard(result, logprobs) for result in results]

    def align(self, encoded: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Any]:
        """Where the text tokens of each row of `encoded` are: alignments and probabilities."""
        return self._model.align(encoded, start, texts, frames)

    def _sampling(self, temperature: float, logprobs: bool) -> dict[str, Any]:
        if temperature == 0:  # a beam search gives no log-probabilities of the tokens it ends with
            return {"beam_size": 1 if logprobs else self._decoding.beam_size}
        return {
            "beam_size": 1,
            "num_hypotheses": self._decoding.best_of,
            "sampling_topk": 0,
            "sampling_temperature": temperature,
        }

    @staticmethod
    def _max_length(context: int, frames: int) -> int:
        return min(MAX_TOKENS, context + _TOKENS_BESIDE + frames * _TOKENS_PER_S // FRAMES_PER_S)

    def _heard(self, result: Any, logprobs: bool) -> Heard:
        tokens = list(result.sequences_ids[0])
        text = self._vocabulary.decode(tokens)
        # The score is the mean over the tokens; Whisper's own average counts the end of text too.
        average = float(result.scores[0]) * len(tokens) / (len(tokens) + 1)
        score = Score(average, compression_ratio(text.strip()), float(result.no_speech_prob))
        chances = _logprobs(result.logits[0], tokens) if logprobs else []
        return Heard(tokens, text, score, chances)


def _logprobs(logits: Sequence[Any], tokens: Sequence[int]) -> list[float]:
    """Natural logarithm of each token's probability before any temperature, from the logits of its step."""
    result = []
    for step, token in zip(logits, tokens, strict=False):
        row = np.array(step, dtype=np.float64).ravel()
        highest = row.max()
        result.append(float(row[token] - highest - np.log(np.exp(row - highest).sum())))
    return result


def together(sounds: Sequence[Sound]) -> Any:
    """Windows as one output of the encoder; a copy by way of the host where they are not one already."""
    first = sounds[0].output
    if [sound.row for sound in sounds] == list(range(first.shape[0])) and all(
        sound.output is first for sound in sounds
    ):
        return first
    rows = [_on_host(sound.output)[sound.row : sound.row + 1] for sound in sounds]
    return _as_on(first, np.concatenate(rows))


def _on_host(encoded: Any) -> npt.NDArray[np.float32]:
    host = encoded.to_device(ctranslate2.Device.cpu).to(ctranslate2.DataType.float32)
    return np.asarray(host)


def _as_on(like: Any, values: npt.NDArray[np.float32]) -> Any:
    """On the device where `like` is."""
    return ctranslate2.StorageView.from_array(values).to_device(getattr(ctranslate2.Device, like.device))
