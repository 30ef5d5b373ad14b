"""Text as it comes in, read by generators that wait wherever it ends for now.

Owns positions in the text and the literals around JSON. Must not decide what is a call: it says whether what
stands there is what was looked for. Because a reader only ever waits, and never looks at how the text was
cut, what is read does not depend on the cuts.
"""

import re
from collections.abc import Collection, Generator, Sequence
from typing import TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]
"""Reads from an Incoming; yields where it needs more text than has come."""

_SPACE = re.compile(r"\s*")
_WORD = re.compile(r"[\w.:/-]*")


class NotExpected(Exception):
    """Something else stands there. The position is that of the first thing that did not fit."""


class Incoming:
    """`text[start:at]` has been read and may yet turn out to be mere text; what is before is settled."""

    def __init__(self) -> None:
        self.text = ""
        self.start = 0
        self.at = 0
        self.ended = False
        """Nothing more comes."""

    def add(self, text: str) -> None:
        self.text = self.text[self.start :] + text
        self.at -= self.start
        self.start = 0

    def settle(self) -> str:
        """What was read since the last time; it is settled now."""
        text = self.text[self.start : self.at]
        self.start = self.at
        return text

    def peek(self) -> Reading[str]:
        """The next character, not taken; empty at the end."""
        while self.at >= len(self.text):
            if self.ended:
                return ""
            yield
        return self.text[self.at]

    def skip_space(self) -> Reading[None]:
        while True:
            match = _SPACE.match(self.text, self.at)
            assert match is not None
            self.at = match.end()
            if self.at < len(self.text) or self.ended:
                return
            yield

    def accept(self, literal: str) -> Reading[bool]:
        """Take `literal` if it stands here."""
        while True:
            part = self.text[self.at : self.at + len(literal)]
            if part == literal:
                self.at += len(literal)
                return True
            if self.ended or not literal.startswith(part):
                return False
            yield

    def expect(self, literal: str) -> Reading[None]:
        if not (yield from self.accept(literal)):
            raise NotExpected

    def one_of(self, literals: Collection[str]) -> Reading[str]:
        """Take whichever stands here; none may begin another."""
        longest = max(map(len, literals), default=0)
        while True:
            part = self.text[self.at : self.at + longest]
            candidates = [literal for literal in literals if part.startswith(literal[: len(part)])]
            for literal in candidates:
                if part.startswith(literal):
                    self.at += len(literal)
                    return literal
            if self.ended or not candidates:
                raise NotExpected
            yield

    def word(self, known: Collection[str]) -> Reading[str]:
        """Take the whole word that stands here, if it is known."""
        while True:
            match = _WORD.match(self.text, self.at)
            assert match is not None
            word = match[0]
            if match.end() < len(self.text) or self.ended:
                if word not in known:
                    raise NotExpected
                self.at = match.end()
                return word
            if not any(name.startswith(word) for name in known):
                raise NotExpected
            yield


class Markers:
    """Finds the first of some literals in a growing text, and what may yet become one."""

    def __init__(self, literals: Sequence[str]) -> None:
        self._literals = literals
        self._pattern = re.compile("|".join(map(re.escape, sorted(literals, key=len, reverse=True))))
        self._starts = re.compile("[" + "".join(re.escape(literal[0]) for literal in literals) + "]")
        self._reach = max(map(len, literals)) - 1

    def search(self, text: str, at: int) -> re.Match[str] | None:
        return self._pattern.search(text, at)

    def unfinished(self, text: str, at: int) -> int:
        """Length of the longest end of `text[at:]` that begins one of the literals."""
        for match in self._starts.finditer(text, max(at, len(text) - self._reach)):
            end = text[match.start() :]
            if any(literal.startswith(end) for literal in self._literals):
                return len(end)
        return 0
