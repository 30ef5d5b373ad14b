"""Splits reasoning between think tags from the answer after it.

Knows nothing of calls: what comes after the reasoning goes to a parser of its own.
"""

from backends.chat.answer import AnswerParser, Piece, ReasoningPiece
from backends.chat.incoming import Incoming, Markers, Reading


class ThinkParser:
    """An AnswerParser. Reasoning stands at the beginning of an answer, once; tags further on are text.

    White space around reasoning and empty lines after it belong to the tags.
    """

    def __init__(self, open_tag: str, close_tag: str, *, in_reasoning: bool, answer: AnswerParser) -> None:
        self.in_reasoning = in_reasoning
        self._open_tag = open_tag
        self._close = Markers([close_tag])
        self._answer = answer
        self._answering = False
        self._incoming = Incoming()
        self._pieces: list[Piece] = []
        self._script = self._read()

    @property
    def held(self) -> str:
        return self._answer.held if self._answering else self._incoming.text[self._incoming.start :]

    def feed(self, text: str) -> list[Piece]:
        if self._answering:
            return self._answer.feed(text)
        self._incoming.add(text)
        return self._go_on()

    def finish(self) -> list[Piece]:
        pieces: list[Piece] = []
        if not self._answering:
            self._incoming.ended = True
            pieces = self._go_on()
        return pieces + self._answer.finish()

    def _go_on(self) -> list[Piece]:
        next(self._script, None)
        pieces, self._pieces = self._pieces, []
        return pieces

    def _read(self) -> Reading[None]:
        incoming = self._incoming
        yield from incoming.skip_space()
        opened = bool(self._open_tag) and (yield from incoming.accept(self._open_tag))
        if opened or self.in_reasoning:
            self.in_reasoning = True
            self.in_reasoning = not (yield from self._reasoning())
            yield from self._skip_lines()
        self._answering = True
        rest = incoming.text[incoming.start :]
        if rest:
            self._pieces += self._answer.feed(rest)

    def _reasoning(self) -> Reading[bool]:
        """Tell it up to its closing tag, and take that; False if the text ends before it."""
        incoming = self._incoming
        yield from incoming.skip_space()
        incoming.settle()
        while True:
            text = incoming.text
            match = self._close.search(text, incoming.at)
            if match is not None:
                self._tell(text[incoming.at : match.start()].rstrip())
                incoming.at = match.end()
                incoming.settle()
                return True
            end = len(text) - self._close.unfinished(text, incoming.at)
            shown = len(text) if incoming.ended else len(text[:end].rstrip())
            self._tell(text[incoming.at : shown])
            incoming.at = max(incoming.at, shown)
            incoming.settle()
            if incoming.ended:
                return False
            yield

    def _skip_lines(self) -> Reading[None]:
        while (yield from self._incoming.peek()) in ("\n", "\r"):
            self._incoming.at += 1
        self._incoming.settle()

    def _tell(self, text: str) -> None:
        if text:
            self._pieces.append(ReasoningPiece(text))
