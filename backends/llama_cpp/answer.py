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
        logprobs = self._ready_logprobs(pieces, last=last)
        if not pieces and not (last and logprobs):
            return None
        self._untold_logprobs = self._untold_logprobs[len(logprobs) :]
        if not self._streams:
            self._logprobs += logprobs
            self._keep(pieces)
            return None
        tokens, self._untold_tokens = self._untold_tokens, 0
        if len(pieces) == 1 and isinstance(pieces[0], TextPiece):
            return Delta(self._job_id, self._index, pieces[0].text, tokens, logprobs=logprobs)
        return self._delta(pieces, tokens, logprobs)

    def _ready_logprobs(self, pieces: list[Piece], *, last: bool) -> list[TokenLogprob]:
        """Of tokens that are told with these pieces: not of those that may yet be a stop string."""
        untold = self._untold_logprobs
        if self.stopped:
            return _covering(untold, pieces)
        held = 0 if last else len(self._assembler.held.encode())
        count = len(untold)
        while count and 0 < held >= len(untold[count - 1].token):
            count -= 1
            held -= len(untold[count].token)
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


def _covering(logprobs: list[TokenLogprob], pieces: Sequence[Piece]) -> list[TokenLogprob]:
    """Those of the tokens that the pieces stand for: a stop string's own tokens are not shown."""
    room = sum(len(piece.text.encode()) for piece in pieces if not isinstance(piece, CallPiece))
    covered = []
    for logprob in logprobs:
        room -= len(logprob.token)
        if room < 0:
            break
        covered.append(logprob)
    return covered


def _new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"
