"""How a sequence's next tokens come about: sampled, foretold by a draft, or forced by a grammar.

Owns the order of the steps at one place of an answer: log-probabilities first, then the grammar's mask, then
the samplers. Must not know the cache or other sequences.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from backends.llama_cpp.guide import Guide
from backends.llama_cpp.logprobs import token_logprob
from backends.llama_cpp.sequence import Sequence
from backends.protocol import Output, TokenLogprob

_MOST_FORCED = 32
"""Tokens taken in one go; the next step takes more."""


class SamplingContext(Protocol):
    """What is needed of a model.Context."""

    def sample(self, chain: Any, row: int) -> int: ...
    def accept(self, chain: Any, token: int) -> None: ...
    def logits(self, row: int) -> npt.NDArray[np.float32]: ...
    def live_logits(self, row: int) -> npt.NDArray[np.float32]: ...


class Pieces(Protocol):
    """What is needed of a model.Vocabulary."""

    def piece(self, token: int) -> bytes: ...
    def written(self, token: int) -> bytes: ...
    def end_tokens(self) -> frozenset[int]: ...


class Writer:
    """`by_token`: nothing is forced, so that every token is computed the same way in any company."""

    def __init__(self, context: SamplingContext, vocabulary: Pieces, *, by_token: bool) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._end_tokens = vocabulary.end_tokens()
        self._by_token = by_token
        self.written = 0
        """Tokens taken; to be reset by whoever counts."""

    def write(self, sequence: Sequence, row: int, outputs: list[Output]) -> int:
        """Continue an answer from the logits of `row`, and of the rows after it where its draft agrees.

        The number of drafted tokens that agreed. Raises GuideError.
        """
        _tell(outputs, sequence.begin())
        sequence.forced = 0
        agreed = 0
        for place, foretold in enumerate([*sequence.draft, -1]):
            token = self._next(sequence, row + place, outputs)
            if sequence.finish_reason is not None or token != foretold:
                break
            agreed += 1
            if sequence.forced:
                break
        return agreed

    def note_prompt(self, sequence: Sequence, row: int, tokens: int) -> None:
        """Log-probabilities of the prompt's tokens that come after the `tokens` of this step."""
        noted = sequence.prompt_logprobs
        assert noted is not None
        if sequence.held == 0:
            first = int(sequence.history[0])
            noted[:] = [TokenLogprob(self._vocabulary.piece(first), None, [], first)]
        last = min(sequence.held + tokens + 1, sequence.prompt_tokens)
        for offset, token in enumerate(sequence.history[sequence.held + 1 : last].tolist()):
            noted.append(self._logprob(sequence, self._context.logits(row + offset), token))

    def _next(self, sequence: Sequence, row: int, outputs: list[Output]) -> int:
        """Sample a token and take it, and those that the grammar then leaves no choice about."""
        guide = sequence.guide
        logits = self._context.logits(row) if sequence.logprobs is not None else None
        if guide is not None and guide.forbids:
            guide.mask(self._context.live_logits(row))
        if sequence.greedy is not None:
            token = sequence.greedy.choose(self._context.live_logits(row))
        else:
            token = self._context.sample(sequence.chain, row)
        if token in self._end_tokens:
            sequence.finish_reason = "stop"
            return token
        logprob = None if logits is None else self._logprob(sequence, logits, token)
        self._take(sequence, token, logprob, outputs)
        if guide is not None and sequence.finish_reason is None:
            guide.accept(token)
            self._take_forced(sequence, guide, outputs)
        return token

    def _take(
        self, sequence: Sequence, token: int, logprob: TokenLogprob | None, outputs: list[Output]
    ) -> None:
        self.written += 1
        _tell(outputs, sequence.append(token, self._piece_of(sequence)(token), logprob))

    def _take_forced(self, sequence: Sequence, guide: Guide, outputs: list[Output]) -> None:
        # Log-probabilities would need rows that are not computed yet.
        if sequence.logprobs is None and not self._by_token:
            for token in guide.forced()[: min(sequence.room, _MOST_FORCED)]:
                guide.accept(token)
                self._context.accept(sequence.chain, token)
                self._take(sequence, token, None, outputs)
                sequence.forced += 1
                if sequence.finish_reason is not None:
                    return
        if guide.stopped:
            sequence.finish_reason = "stop"

    def _logprob(self, sequence: Sequence, logits: npt.NDArray[np.float32], token: int) -> TokenLogprob:
        top = sequence.logprobs or 0
        return token_logprob(logits, token, top, self._piece_of(sequence), self._vocabulary.written)

    def _piece_of(self, sequence: Sequence) -> Callable[[int], bytes]:
        """How the tokens of an answer are written."""
        if not sequence.visible:
            return self._vocabulary.piece
        vocabulary, visible = self._vocabulary, sequence.visible
        return lambda token: vocabulary.written(token) if token in visible else vocabulary.piece(token)


def _tell(outputs: list[Output], delta: Output | None) -> None:
    if delta is not None:
        outputs.append(delta)
