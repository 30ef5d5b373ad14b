"""What a step decodes: one batch of tokens of many sequences, and what is seen or heard each by itself.

Owns the batch. A batch that llama.cpp would die of counts as failed. Must not decide who takes part, nor
know what comes of a decode.
"""

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from backends.llama_cpp.batch import Batch, EmbeddingBatch
from backends.llama_cpp.cache import CacheContext
from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.sequence import Sequence
from backends.llama_cpp.writing import SamplingContext

log = logging.getLogger(__name__)

Work = list[tuple[Sequence, int]]
"""Sequences of a step, and how many tokens of their history each decodes in it."""


class Decoder(CacheContext, SamplingContext, Protocol):
    """What the engine needs of a model.Context; a test may put something between."""

    n_ctx: int
    n_batch: int
    n_seq_max: int

    def decode(self, batch: Any) -> int: ...
    def decode_whole(self, batch: Any) -> int: ...
    def held(self, seq_id: int) -> int: ...
    def close(self) -> None: ...


class Decoding:
    """`in_order`: llama.cpp computes sequences together whose ids follow one another in the batch."""

    def __init__(self, context: Decoder, vocabulary_size: int, *, in_order: bool) -> None:
        self._context = context
        self._in_order = in_order
        self._batch = Batch(context.n_batch, context.n_seq_max, vocabulary_size)

    def decode(self, work: Work) -> int:
        """As Context.decode, of sequences whose next tokens are text."""
        batch = self._batch
        if self._in_order:
            work.sort(key=lambda entry: entry[0].seq_id)
        try:
            batch.clear()
            for sequence, tokens in work:
                end = sequence.held + tokens
                if tokens == 1 and end == sequence.length and not sequence.draft:
                    position = sequence.held + sequence.shift
                    batch.add_one(sequence.seq_id, int(sequence.history[sequence.held]), position)
                    continue
                part = sequence.history[sequence.held : end]
                if sequence.draft:
                    part = np.concatenate([part, np.array(sequence.draft, dtype=np.int32)])
                wanted = 1 + len(sequence.draft) if end == sequence.length else 0
                if sequence.prompt_logprobs is not None:
                    wanted = tokens + len(sequence.draft)
                batch.add(sequence.seq_id, part, sequence.position(sequence.held), want_last=wanted)
            batch.check()
        except ValueError:
            log.exception("a batch was refused before decoding")
            return -1
        return self._context.decode(batch.raw)

    def decode_span(self, sequence: Sequence, tokens: int) -> int:
        """As Context.decode, of the next tokens of a sequence that `add_prefill` gave to the spans."""
        assert sequence.media is not None
        span = sequence.media.span_at(sequence.held)
        assert span is not None
        batch = EmbeddingBatch(sequence.seq_id, span, sequence.held - span.start, tokens)
        return self._context.decode(batch.raw) if span.causal else self._context.decode_whole(batch.raw)

    def timed(self, tokens: TokenArray, position: int, *, wanted: int, clock: Callable[[], float]) -> float:
        """Seconds that a decode for the sequence 0 took. Raises RuntimeError where it fails."""
        started_at = clock()
        self._batch.clear()
        self._batch.add(0, tokens, position, want_last=wanted)
        if result := self._context.decode(self._batch.raw):
            raise RuntimeError(f"the warm-up decode failed with {result}")
        return clock() - started_at


def add_prefill(work: Work, spans: Work, sequence: Sequence, tokens: int) -> None:
    """The next tokens of a prompt: text goes into the common batch, a picture's or sound's to the spans."""
    if sequence.media is not None:
        tokens = sequence.media.run(sequence.held, tokens)
        if sequence.media.span_at(sequence.held) is not None:
            spans.append((sequence, tokens))
            return
    work.append((sequence, tokens))
