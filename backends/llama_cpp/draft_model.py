"""Drafts from a second, smaller model of the same vocabulary.

Owns that model's context and what its cache holds of each sequence. A proposal is decoded into the cache as
it is made; what the target model then made of it is seen from the history of the next request, and the cache
is cut back to what both have in common. All sequences draft in common batches. Must not know the target's
context.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from backends.llama_cpp.batch import Batch
from backends.llama_cpp.drafting import DraftRequest
from backends.llama_cpp.model import Model, TokenArray, Vocabulary
from backends.llama_cpp.prefixes import common_prefix

log = logging.getLogger(__name__)

_CATCH_UP_TOKENS = 256
"""Of histories the cache lacks, so much is decoded in one call: no step is to wait long for a draft."""
_LEAST_SURE = 0.4
"""A token that the draft model gives a smaller probability ends the draft."""
_WEIGHT = 0.2
_MOST_FAILURES = 3
"""After so many failed decodes in a row there are no more drafts."""
_PADDING_TOKENS = 128
"""Sizes of vocabularies may differ by so much: files of one family are padded to different lengths."""
_EDGE_TOKENS = 256
_SAMPLED_TOKENS = 2048


class DraftDecoder(Protocol):
    """What is needed of a model.Context."""

    n_ctx: int
    n_batch: int
    n_seq_max: int

    def decode(self, batch: Any) -> int: ...
    def logits(self, row: int) -> npt.NDArray[np.float32]: ...
    def remove(self, seq_id: int, start: int = 0) -> bool: ...
    def close(self) -> None: ...


class ModelDrafter:
    """A Drafter. Takes model and context over; `context_length` is what the draft model was trained for.

    Raises ValueError where the model cannot draft for `target`; then both are closed.
    """

    def __init__(
        self,
        model: Model,
        context: DraftDecoder,
        target: Vocabulary,
        *,
        context_length: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._context = context
        self._context_length = min(context_length, context.n_ctx)
        self._clock = clock
        vocabulary = model.vocabulary
        self._known_tokens = min(vocabulary.size, target.size)
        self._batch = Batch(context.n_batch, context.n_seq_max, vocabulary.size)
        self._lines: OrderedDict[int, _Line] = OrderedDict()
        """By key, the least recently asked for first."""
        self._free_ids = list(range(context.n_seq_max))
        self._failures = 0
        self.token_s = 0.0
        try:
            if context.n_batch < context.n_seq_max:
                raise ValueError("the draft model's batch cannot hold a token of every sequence")
            check_vocabularies(target, vocabulary)
            self._end_tokens = vocabulary.end_tokens()
            self._warm_up()
        except ValueError:
            self.close()
            raise

    def propose(self, wanted: list[DraftRequest]) -> list[list[int]]:
        drafts: list[list[int]] = [[] for _ in wanted]
        if self._failures >= _MOST_FAILURES:
            return drafts
        lines = self._take_up(wanted)
        growing = self._catch_up([(index, line, wanted[index]) for index, line in lines], drafts)
        while growing:
            growing = self._grow(growing, drafts)
        return drafts

    def accepted(self, key: int, proposed: int, accepted: int) -> None:
        """Nothing to learn: the next history says which tokens stayed."""

    def forget(self, key: int) -> None:
        line = self._lines.pop(key, None)
        if line is not None:
            self._context.remove(line.seq_id)
            self._free_ids.append(line.seq_id)

    def close(self) -> None:
        self._context.close()
        self._model.close()

    # --- places in the cache ------------------------------------------------------------------------------

    def _take_up(self, wanted: list[DraftRequest]) -> list[tuple[int, "_Line"]]:
        """(index, line) of the requests that have a place; each line cut back to what is still true."""
        keys = {request.key for request in wanted}
        lines = []
        for index, request in enumerate(wanted):
            if self._can_draft(request) and (line := self._line(request, keys)) is not None:
                self._cut_back(line, request.tokens)
                lines.append((index, line))
        return lines

    def _can_draft(self, request: DraftRequest) -> bool:
        tokens = request.tokens
        return (
            request.most > 0
            and len(tokens) > 0
            and len(tokens) + request.most <= self._context_length
            and int(tokens.max()) < self._known_tokens
        )

    def _line(self, request: DraftRequest, keep: set[int]) -> "_Line | None":
        """The request's line, with room for it and its draft; others not in `keep` may lose theirs."""
        line = self._lines.get(request.key)
        if line is None:
            if not self._free_ids and not self._evict(keep):
                return None
            line = self._lines[request.key] = _Line(self._free_ids.pop())
        self._lines.move_to_end(request.key)
        line.reserved = len(request.tokens) + request.most
        while self._reserved() > self._context.n_ctx:
            if not self._evict(keep):
                self.forget(request.key)
                return None
        return line

    def _reserved(self) -> int:
        """Cells that may be in use once everybody has drafted."""
        return sum(max(line.reserved, len(line.held)) for line in self._lines.values())

    def _evict(self, keep: set[int]) -> bool:
        for key in self._lines:
            if key not in keep:
                self.forget(key)
                return True
        return False

    def _cut_back(self, line: "_Line", tokens: TokenArray) -> None:
        """The newest token is always decoded anew, for its logits."""
        common = min(common_prefix(line.held, tokens), len(tokens) - 1)
        if common < len(line.held):
            self._context.remove(line.seq_id, common)
            line.held = line.held[:common]

    # --- decoding -----------------------------------------------------------------------------------------

    def _catch_up(self, lines: "list[_Place]", drafts: list[list[int]]) -> "list[_Place]":
        """Decode what the cache lacks, the shortest first; who is up to date then has a first token."""
        self._batch.clear()
        budget = min(max(_CATCH_UP_TOKENS, 4 * self._context.n_seq_max), self._batch.capacity)
        ready: list[tuple[_Place, int]] = []
        parts: list[tuple[_Line, TokenArray]] = []
        for place in sorted(lines, key=lambda place: len(place[2].tokens) - len(place[1].held)):
            _, line, request = place
            start = len(line.held)
            part = request.tokens[start : start + budget]
            if len(part) == 0:
                break
            budget -= len(part)
            whole = start + len(part) == len(request.tokens)
            row = self._batch.add(line.seq_id, part, start, want_last=whole)
            parts.append((line, part))
            if whole:
                ready.append((place, row))
        return self._decode(parts, ready, drafts)

    def _grow(self, places: "list[_Place]", drafts: list[list[int]]) -> "list[_Place]":
        """One more token for each."""
        self._batch.clear()
        ready: list[tuple[_Place, int]] = []
        parts: list[tuple[_Line, TokenArray]] = []
        for place in places:
            index, line, _ = place
            newest = np.array(drafts[index][-1:], dtype=np.int32)
            ready.append((place, self._batch.add(line.seq_id, newest, len(line.held), want_last=True)))
            parts.append((line, newest))
        return self._decode(parts, ready, drafts)

    def _decode(
        self,
        parts: "list[tuple[_Line, TokenArray]]",
        ready: "list[tuple[_Place, int]]",
        drafts: list[list[int]],
    ) -> "list[_Place]":
        """Those of `ready` whose draft got a token and has room for another."""
        if not parts:
            return []
        started_at = self._clock()
        if result := self._context.decode(self._batch.raw):
            self._fail(result, [line for line, _ in parts])
            return []
        self._failures = 0
        for line, part in parts:
            line.held = np.concatenate((line.held, part))
        growing = []
        for place, row in ready:
            index, _, request = place
            token = self._likely(row)
            if token is not None:
                drafts[index].append(token)
                if len(drafts[index]) < request.most:
                    growing.append(place)
        if len(self._batch) <= 2 * len(ready):
            self._measured(self._clock() - started_at)
        return growing

    def _likely(self, row: int) -> int | None:
        """The likeliest token, if it is likely enough, ends nothing and is known to the target."""
        logits = self._context.logits(row)
        token = int(logits.argmax())
        if token in self._end_tokens or token >= self._known_tokens:
            return None
        probability = 1.0 / float(np.exp(logits - logits[token]).sum())
        return token if probability >= _LEAST_SURE else None

    def _fail(self, result: int, lines: "list[_Line]") -> None:
        self._failures += 1
        log.warning("the draft model failed with %d (%d in a row)", result, self._failures)
        for line in lines:
            self._context.remove(line.seq_id)
            line.held = line.held[:0]

    def _measured(self, seconds: float) -> None:
        self.token_s = seconds if self.token_s == 0.0 else self.token_s + _WEIGHT * (seconds - self.token_s)

    def _warm_up(self) -> None:
        for _ in range(2):  # the first call also pays for what is set up at first use
            self.token_s = 0.0
            for position in range(2):
                started_at = self._clock()
                self._batch.clear()
                self._batch.add(0, np.zeros(1, dtype=np.int32), position, want_last=True)
                if result := self._context.decode(self._batch.raw):
                    raise ValueError(f"the draft model's first decode failed with {result}")
                self._likely(0)
                self._measured(self._clock() - started_at)
            if not self._context.remove(0, 1):
                raise ValueError("the draft model's cache cannot be cut back, so it cannot draft")
            self._context.remove(0)


class _Line(Struct):
    """A sequence in the cache."""

    seq_id: int
    held: TokenArray = np.empty(0, dtype=np.int32)
    reserved: int = 0


_Place = tuple[int, _Line, DraftRequest]
"""Index of the request, and its line."""


def check_vocabularies(target: Vocabulary, draft: Vocabulary) -> None:
    """Raises ValueError unless the same ids mean the same tokens, as far as a sample of them shows."""
    if abs(target.size - draft.size) > _PADDING_TOKENS:
        raise ValueError(
            f"the draft model has {draft.size} tokens and the model {target.size}: not the same vocabulary"
        )
    if (target.bos, target.eos, target.add_bos) != (draft.bos, draft.eos, draft.add_bos):
        raise ValueError("the draft model begins or ends texts with other tokens than the model")
    common = min(target.size, draft.size)
    edges = {*range(min(_EDGE_TOKENS, common)), *range(max(common - _EDGE_TOKENS, 0), common)}
    for token in sorted(edges | set(range(0, common, max(common // _SAMPLED_TOKENS, 1)))):
        if target.text(token) != draft.text(token):
            raise ValueError(f"token {token} of the draft model is another than the model's")
