"""One answer as it grows: from tokens' bytes to text, reasoning and calls, and what of it may be told now.

Owns what has been held back: half characters, possible stop strings, beginnings of marks, and the
log-probabilities of tokens whose text is not out yet. Must not know the model, the cache or sampling.
"""

import secrets
from collections.abc import Sequence
from typing import Literal

from backends.chat.answer import AnswerFormat, AnswerParser, CallPiece, Piece, PlainParser, TextPiece
from backends.chat.parsers import parser_for
from backends.llama_cpp.text import TextAssembler
from backends.protocol import CallDelta, Delta, GenerationResult, TokenLogprob, ToolCall

FinishReason = Literal["stop", "length", "tool_calls"]


class GrowingAnswer:
    """`streams`: what may be told goes out in deltas; otherwise all of it stands in the result."""

    def __init__(
        self, job_id: str, index: int, format: AnswerFormat, stops: Sequence[str], *, streams: bool
    ) -> None:
        self._job_id = job_id
        self._index = index
        self._streams = streams
        self._assembler = TextAssembler(stops)
        self._parser: AnswerParser = parser_for(format, _new_call_id)
        self._plain = isinstance(self._parser, PlainParser)
        self._untold_tokens = 0
        self._untold_logprobs: list[TokenLogprob] = []
        self._told_bytes = 0
        """Of the text of the first of those: it was told before the rest of its token."""
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._arguments: list[list[str]] = []
        self._logprobs: list[TokenLogprob] = []
        self.called = False
        self.reasoning_tokens = 0

    @property
    def stopped(self) -> bool:
        """A stop string has ended it."""
        return self._assembler.stopped

    def echo(self, prompt: str, logprobs: list[TokenLogprob]) -> Delta | None:
        """The answer begins with its prompt, which neither ends it nor calls anything."""
        self._untold_logprobs += logprobs
        return self._told([TextPiece(prompt)])

    def feed(self, piece: bytes, logprob: TokenLogprob | None) -> Delta | None:
        """The next token."""
        self._untold_tokens += 1
        if logprob is not None:
            self._untold_logprobs.append(logprob)
        text = self._assembler.feed(piece)
        if self._plain:
            return self._told([TextPiece(text)] if text else [])
        pieces = self._parser.feed(text) if text else []
        if self._parser.in_reasoning:
            self.reasoning_tokens += 1
        return self._told(pieces)

    def finish(self) -> Delta | None:
        """Nothing more comes: what had been held back. After a stop string nothing is."""
        held = self._assembler.finish()
        pieces = self._parser.feed(held) if held else []
        pieces += self._parser.finish()
        return self._told(pieces, last=True)

    def result(
        self, reason: FinishReason, *, prompt_tokens: int, completion_tokens: int, cached: int, drafted: int
    ) -> GenerationResult:
        """Of a finished answer."""
        calls = [
            ToolCall(call.id, call.name, "".join(parts))
            for call, parts in zip(self._calls, self._arguments, strict=True)
        ]
        return GenerationResult(
            text="".join(self._texts),
            finish_reason="tool_calls" if self.called and reason == "stop" else reason,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cached_tokens=cached,
            reasoning="".join(self._reasoning),
            tool_calls=calls,
            reasoning_tokens=self.reasoning_tokens,
            logprobs=self._logprobs,
            accepted_draft_tokens=drafted,
        )

    def _told(self, pieces: list[Piece], *, last: bool = False) -> Delta | None:
        """The pieces as a delta, or kept for the result."""
        logprobs = self._take_logprobs(pieces, last=last) if pieces or last else []
        if not pieces and not logprobs:
            return None
        if not self._streams:
            self._logprobs += logprobs
            self._keep(pieces)
            return None
        tokens, self._untold_tokens = self._untold_tokens, 0
        if len(pieces) == 1 and isinstance(pieces[0], TextPiece):
            return Delta(self._job_id, self._index, pieces[0].text, tokens, logprobs=logprobs)
        return self._delta(pieces, tokens, logprobs)

    def _take_logprobs(self, pieces: Sequence[Piece], *, last: bool) -> list[TokenLogprob]:
        """Of tokens all of whose text is told with these pieces."""
        untold = self._untold_logprobs
        if not untold:
            return []
        count = len(untold)
        if self.stopped:  # the stop string's own tokens are not shown
            told = self._told_bytes + _text_bytes(pieces)
            count = _covered(untold, told)
            self._told_bytes = told - _written(untold[:count])
        else:
            held = 0 if last else self._assembler.held_bytes + len(self._parser.held.encode())
            while count and _written(untold[count:]) < held:
                count -= 1
            self._told_bytes = max(0, _written(untold[count:]) - held)
        self._untold_logprobs = untold[count:]
        return untold[:count]

    def _delta(self, pieces: list[Piece], tokens: int, logprobs: list[TokenLogprob]) -> Delta:
        text, reasoning, calls = "", "", []
        for piece in pieces:
            if isinstance(piece, TextPiece):
                text += piece.text
            elif isinstance(piece, CallPiece):
                self.called = True
                calls.append(CallDelta(piece.index, piece.arguments, piece.id, piece.name))
            else:
                reasoning += piece.text
        return Delta(self._job_id, self._index, text, tokens, reasoning, calls, logprobs)

    def _keep(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, TextPiece):
                self._texts.append(piece.text)
            elif isinstance(piece, CallPiece):
                self.called = True
                if piece.name:
                    self._calls.append(ToolCall(piece.id, piece.name, ""))
                    self._arguments.append([])
                self._arguments[piece.index].append(piece.arguments)
            else:
                self._reasoning.append(piece.text)


def _covered(logprobs: Sequence[TokenLogprob], size: int) -> int:
    """How many of the first tokens these bytes of text stand for, whole."""
    for count, logprob in enumerate(logprobs):
        size -= len(logprob.token)
        if size < 0:
            return count
    return len(logprobs)


def _written(logprobs: Sequence[TokenLogprob]) -> int:
    return sum(len(logprob.token) for logprob in logprobs)


def _text_bytes(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.text.encode()) for piece in pieces if not isinstance(piece, CallPiece))


def _new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
