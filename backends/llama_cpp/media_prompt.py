"""A prompt with pictures or sound in it: tokens, and between them spans that are decoded from embeddings.

Pure. In a history each token of a span is a negative number that stands for what was sent, so that prefixes
are compared number by number as those of text are: equal numbers are equal pictures, by the hash of their
pixels, and no number is ever a token of the vocabulary.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from backends.llama_cpp.model import TokenArray

FloatArray = npt.NDArray[np.float32]

_MOST_NUMBERS = 65536


class MediaSpan(Struct, frozen=True):
    """Consecutive tokens of a history that are embeddings of one picture, tile or stretch of sound."""

    start: int
    rows: FloatArray
    """One embedding a token."""
    positions: TokenArray
    """Where each stands for the decoder, absolute: one row, or four with M-RoPE."""
    after: int
    """Position of what follows."""
    kind: Literal["image", "audio"] = "image"
    causal: bool = True
    """False: each of its tokens sees the others, so all must be in one decode of their own."""

    @property
    def end(self) -> int:
        return self.start + len(self.rows)


class MediaPrompt(Struct, frozen=True):
    """Spans are in order, neither overlap nor touch the prompt's last token."""

    tokens: TokenArray
    spans: list[MediaSpan]

    @property
    def shift(self) -> int:
        """What an index in the answer must be moved by to be a position."""
        last = self.spans[-1]
        return last.after - last.end

    @property
    def audio_tokens(self) -> int:
        """Those that recordings became."""
        return sum(len(span.rows) for span in self.spans if span.kind == "audio")

    def position(self, index: int) -> int:
        """Of a token outside the spans, or of a span's first."""
        shift = 0
        for span in self.spans:
            if index < span.end:
                break
            shift = span.after - span.end
        return index + shift

    def index(self, positions: int) -> int:
        """How many leading tokens a cache surely holds that has seen so many positions.

        A span counts once a position behind it was seen: one of a picture says nothing of its other tokens.
        """
        start = position = 0
        for span in self.spans:
            if positions <= position + span.start - start:
                return start + max(positions - position, 0)
            if positions < span.after:
                return span.start
            start, position = span.end, span.after
        return start + max(positions - position, 0)

    def span_at(self, index: int) -> MediaSpan | None:
        return next((span for span in self.spans if span.start <= index < span.end), None)

    def run(self, index: int, most: int) -> int:
        """How many tokens from `index` on may be in one decode: those of a text, or of one span."""
        for span in self.spans:
            if index < span.start:
                return min(most, span.start - index)
            if index < span.end:
                return min(most, span.end - index) if span.causal else span.end - index
        return most


class ChunkNumbers:
    """Numbers for what spans show: the same for the same key, never one number for two keys."""

    def __init__(self, most: int = _MOST_NUMBERS) -> None:
        self._most = most
        self._numbers: OrderedDict[Hashable, int] = OrderedDict()
        self._next = 0

    def ids(self, key: Hashable, tokens: int) -> TokenArray:
        """What stands for so many tokens in a history. A key that was forgotten gets a new number."""
        number = self._numbers.pop(key, None)
        if number is None:
            number, self._next = self._next, self._next + 1
        self._numbers[key] = number
        if len(self._numbers) > self._most:
            self._numbers.popitem(last=False)
        ids = np.full(tokens, -2 * number - 2, dtype=np.int32)
        ids[0] += 1  # odd: here a span begins
        return ids


def holds_media(tokens: TokenArray) -> bool:
    return bool((tokens < 0).any())


def whole_spans(tokens: TokenArray, length: int) -> int:
    """`length` leading tokens, or fewer where that would cut a span in two."""
    if length >= len(tokens) or tokens[length] >= 0 or tokens[length] % 2:
        return length
    leading = tokens[:length]
    return int(np.flatnonzero((leading < 0) & (leading % 2 == 1))[-1])
