"""What may come next: keeps each sequence of the step loop inside its grammar.

Owns the matchers (llguidance) and their tokenizer over the model's vocabulary. Must not know schemas, jobs or
sampling: it gets grammars that the prepare helper has already compiled once under the same limits.
"""

import ctypes
import logging
from collections import OrderedDict
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from numpy.typing import NDArray

from backends.chat.answer import AnswerFormat
from backends.llama_cpp.library import C
from backends.llama_cpp.model import Vocabulary

log = logging.getLogger(__name__)

_KEPT_GRAMMARS = 64
"""Compiled grammars kept for later requests; each takes some hundred kilobytes."""
_SPECIAL_MARKER = b"\xff"
"""llguidance's sign in front of a token that is no text; UTF-8 never holds this byte."""

_PLAIN = AnswerFormat()


class GuideError(Exception):
    """The grammar of one sequence cannot be followed any further; it is of no concern to any other."""


def parser_limits() -> LLParserLimits:
    """Bounds on the time that a compilation and a mask may take, and errors without the request's text.

    llguidance counts work, not time: a mask within these ends in about 20 ms, a compilation in 200.
    """
    return LLParserLimits(
        initial_lexer_fuel=1_000_000,
        step_lexer_fuel=100_000,
        step_max_items=50_000,
        max_lexer_states=50_000,
        max_grammar_size=200_000,
        verbose_errors=False,
    )


def build_tokenizer(vocabulary: Vocabulary, pieces: Sequence[bytes]) -> LLTokenizer | None:
    """The vocabulary as llguidance wants it. `pieces`: the bytes of each token, as from Vocabulary.pieces.

    Control tokens are no text: a grammar allows them by number only, as `<[id]>`. Tokens that the model's
    author forbids are left out. None for a vocabulary that cannot be used: no text of its tokens is certain.
    """
    special = set(vocabulary.control_tokens())
    forbidden = set(vocabulary.suppressed_tokens())
    tokens = [
        b"" if token in forbidden else _SPECIAL_MARKER + piece if token in special else piece
        for token, piece in enumerate(pieces)
    ]
    # The class method is missing from llguidance's type stubs.
    make = LLTokenizer.from_llamacpp  # type: ignore[attr-defined]
    try:
        tokenizer: LLTokenizer = make(
            tokens=tokens,
            vocab_ptr=vocabulary.handle,
            tokenize_fptr=ctypes.cast(C.llama_tokenize, ctypes.c_void_p).value,
            eos_token=sorted(vocabulary.end_tokens()) or [vocabulary.eos],
        )
    except ValueError as error:
        log.warning("answers of this model cannot be bound by a grammar: %s", error)
        return None
    return tokenizer


class Guides(Protocol):
    """A GuideMaker, perhaps still in the making."""

    def guide(self, grammar: str, triggers: Sequence[str], format: AnswerFormat) -> "Guide": ...
    def close(self) -> None: ...


class GuideMaker:
    """Makes the guides of one loaded model. Built at load: that takes 0.2 s for 49,000 tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._pieces = vocabulary.pieces()
        self._tokenizer = build_tokenizer(vocabulary, self._pieces)
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._mask = TokenMask(vocabulary.size, vocabulary.end_tokens())

    def guide(self, grammar: str, triggers: Sequence[str] = (), format: AnswerFormat = _PLAIN) -> "Guide":
        """For one sequence. With `triggers` it wakes at the first of these texts after any reasoning; the
        tag that ends reasoning may be one of them. Raises GuideError.
        """
        if self._tokenizer is None:
            raise GuideError("answers of this model cannot be bound by a grammar")
        matcher = self._compile(self._tokenizer, grammar).deep_copy()
        watch = TriggerWatch(triggers, format) if triggers else None
        return Guide(matcher, self._tokenizer, self._mask, self._pieces, watch)

    def _compile(self, tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
        matcher = self._compiled.pop(grammar, None)
        if matcher is None:
            matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=parser_limits())
            _check(matcher)
        self._compiled[grammar] = matcher
        if len(self._compiled) > _KEPT_GRAMMARS:
            self._compiled.popitem(last=False)
        return matcher


class Guide:
    """Holds one sequence to its grammar. Every method may raise GuideError.

    Once `stopped`, only an end token may follow, so the answer is complete: a caller that ignores end tokens
    must end it then.
    """

    def __init__(
        self,
        matcher: LLMatcher,
        tokenizer: LLTokenizer,
        mask: "TokenMask",
        pieces: Sequence[bytes],
        watch: "TriggerWatch | None" = None,
    ) -> None:
        self._matcher = matcher
        self._tokenizer = tokenizer
        self._mask = mask
        self._pieces = pieces
        self._watch = watch

    @property
    def active(self) -> bool:
        """False until a trigger has been seen: nothing is forced before, and at most the end forbidden."""
        return self._watch is None

    @property
    def forbids(self) -> bool:
        """Whether a mask would change anything."""
        return self._watch is None or self._watch.binding

    @property
    def stopped(self) -> bool:
        return self._watch is None and self._matcher.is_stopped()

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Set the entries of forbidden tokens to -inf, in place. At least one entry stays above that.

        Also while the guide sleeps: an answer that is bound after reasoning must not end before.
        """
        if self._watch is None:
            self._mask.apply(self._matcher, logits)
        elif self._watch.binding:
            self._mask.forbid_end(logits)

    def forced(self) -> list[int]:
        """The tokens that must come now, as the model itself would write that text; accept each of them."""
        if self._watch is not None or self._matcher.is_stopped():
            return []
        tokens = self._matcher.compute_ff_tokens()
        _check(self._matcher)
        return tokens

    def allowed(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow, one after the other; changes nothing."""
        if self._watch is not None:
            return len(tokens)
        count = self._matcher.validate_tokens(list(tokens))
        _check(self._matcher)
        return count

    def accept(self, token: int) -> None:
        """This token was sampled or forced and stands in the answer now."""
        if self._watch is None:
            self._consume([token])
            return
        begun = self._watch.feed(token, self._pieces[token])
        if begun is not None:
            self._wake(self._tokenizer.tokenize_bytes(begun[0]) + begun[1], self._watch)

    def _wake(self, tokens: list[int], watch: "TriggerWatch") -> None:
        """A text that only looked like a trigger, going on as nothing in the grammar does, is let be."""
        if watch.binding or self._matcher.validate_tokens(tokens) == len(tokens):
            self._watch = None
            self._consume(tokens)

    def _consume(self, tokens: list[int]) -> None:
        # On an end token after the end there is nothing to consume, but no error either.
        if tokens and not self._matcher.consume_tokens(tokens):
            _check(self._matcher)
            raise GuideError("a token was taken that the grammar does not allow")


class TriggerWatch:
    """Looks for the first of some texts in the tokens of an answer, wherever in a token it begins.

    What the model thinks before it answers triggers nothing; the tag that ends it may.
    """

    def __init__(self, triggers: Sequence[str], format: AnswerFormat = _PLAIN) -> None:
        self._triggers = [trigger.encode() for trigger in triggers]
        self.binding = format.think_close in triggers
        """The grammar is for all that comes after reasoning, not only for what begins like a call."""
        self._opened, self._closed = format.think_open.encode(), format.think_close.encode()
        self._longest = max(map(len, [*self._triggers, self._closed]))
        self._thinking = True if format.in_reasoning else None if self._closed else False
        """None: that is not known yet."""
        self._recent: list[tuple[int, bytes]] = []
        self._begin = 0
        """How much of the recent text is not looked at any more: reasoning, and what was found before."""

    def feed(self, token: int, piece: bytes) -> tuple[bytes, list[int]] | None:
        """Once a trigger is complete: the part of a token that it begins with, and the tokens after that.

        It is empty where the trigger begins with a whole token, which is then the first of those tokens.
        """
        self._recent.append((token, piece))
        text = b"".join(piece for _, piece in self._recent)
        if self._thinking is None:
            self._thinking = self._has_begun_to_think(text)
        if self._thinking and (closed_at := text.find(self._closed)) >= 0:
            self._thinking, self._begin = False, closed_at
        if self._thinking is False:
            starts = [start for t in self._triggers if (start := text.find(t, self._begin)) >= 0]
            if starts:
                self._begin = min(starts) + 1
                return self._split(min(starts))
        self._forget(text)
        return None

    def _has_begun_to_think(self, text: bytes) -> bool | None:
        head = text.lstrip()
        if self._opened.startswith(head):
            return None if head != self._opened else True
        return bool(self._opened) and head.startswith(self._opened)

    def _forget(self, text: bytes) -> None:
        """What no trigger can begin in any more."""
        while self._thinking is not None and len(text) - len(self._recent[0][1]) >= self._longest:
            length = len(self._recent.pop(0)[1])
            text = text[length:]
            self._begin = max(self._begin - length, 0)

    def _split(self, start: int) -> tuple[bytes, list[int]]:
        for index, (_, piece) in enumerate(self._recent):
            if start < len(piece):
                whole = index if start == 0 else index + 1
                return piece[start:] if start else b"", [token for token, _ in self._recent[whole:]]
            start -= len(piece)
        raise AssertionError("a trigger begins inside the text that it was found in")


class TokenMask:
    """The buffers for one mask, shared by all guides of a thread."""

    def __init__(self, vocabulary_size: int, end_tokens: Collection[int] = ()) -> None:
        self._size = vocabulary_size
        self._ends = np.array(sorted(end_tokens), dtype=np.intp)
        self._bits = np.zeros((vocabulary_size + 31) // 32, dtype=np.uint32)
        self._bytes = self._bits.view(np.uint8)
        allowed = (np.arange(256)[:, None] >> np.arange(8)) & 1
        self._penalties = np.where(allowed, 0.0, -np.inf).astype(np.float32)
        """What each byte of a mask adds to its eight logits: twice as fast as unpacking its bits."""
        self._added = np.empty((len(self._bytes), 8), dtype=np.float32)

    def forbid_end(self, logits: NDArray[np.float32]) -> None:
        """For an answer that has not begun yet."""
        logits[self._ends] = -np.inf

    def apply(self, matcher: LLMatcher, logits: NDArray[np.float32]) -> None:
        matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if matcher.is_stopped():  # also after an error, which would pass as the end of the answer
            _check(matcher)
        np.take(self._penalties, self._bytes, axis=0, out=self._added, mode="clip")
        logits += self._added.reshape(-1)[: self._size]
        if logits.max() == -np.inf:
            raise GuideError("the grammar allows only tokens that the request rules out")


def _check(matcher: LLMatcher) -> None:
    if matcher.is_error():
        reason = matcher.get_error().partition("\n")[0]
        raise GuideError(f"the answer's grammar cannot be followed: {reason}")
