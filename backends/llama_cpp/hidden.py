"""Control tokens that users wrote: marks stand for them in a template, and they come back as mere text."""

import re
import secrets
from collections.abc import Collection, Mapping

from msgspec import Struct

Value = object
"""What JSON can hold."""


MARK_BRACKETS = "\u27e6\u27e7"
"""Around a mark. Whoever escapes other characters must leave these."""


class Part(Struct, frozen=True):
    """A piece of a prompt. `literal`: a user wrote it, so no control token may come of it."""

    text: str
    literal: bool
    media: int = -1
    """Which of the prompt's media stands here instead of a text."""


class Hidden:
    """The control texts of one prompt that users wrote, each replaced by a mark that nobody can guess."""

    def __init__(self, control: re.Pattern[str] | None = None) -> None:
        self._control = control
        self._texts: list[str] = []
        self._media = 0
        # Brackets and digits: templates that trim, change case or print a value as Python does leave them be.
        self._opening = f"{MARK_BRACKETS[0]}{secrets.randbelow(10**18):018d}-"
        self._mark = re.compile(f"{re.escape(self._opening)}(-?\\d+){MARK_BRACKETS[1]}")

    def hide(self, text: str) -> str:
        return self._control.sub(self._replace, text) if self._control else text

    def hide_all(self, value: Value) -> Value:
        """In every string of a JSON value, keys too."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {self.hide(key): self.hide_all(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hide_all(item) for item in value]
        return value

    def place_media(self) -> str:
        """A mark for the next of the prompt's media."""
        self._media += 1
        return f"{self._opening}{-self._media}{MARK_BRACKETS[1]}"

    def split(self, rendered: str) -> list[Part]:
        """Parts in order; every odd piece of the split is the number of a hidden text, below 0 of media."""
        pieces = self._mark.split(rendered)
        parts = [
            self._part(int(piece)) if index % 2 else Part(piece, False) for index, piece in enumerate(pieces)
        ]
        return [part for part in parts if part.text or part.media >= 0]

    def _part(self, number: int) -> Part:
        return Part(self._texts[number], True) if number >= 0 else Part("", False, -number - 1)

    def _replace(self, match: re.Match[str]) -> str:
        self._texts.append(match[0])
        return f"{self._opening}{len(self._texts) - 1}{MARK_BRACKETS[1]}"


def any_of(texts: Collection[str]) -> re.Pattern[str] | None:
    """Finds these texts, the longest that stands in a place; None if there are none.

    As a tree of beginnings: some vocabularies have thousands of control tokens that all begin alike, and
    trying one after the other at every place takes seconds on a long message.
    """
    given = {text for text in texts if text}
    return re.compile(_branch(given)) if given else None


def _branch(texts: Collection[str]) -> str:
    begun: dict[str, set[str]] = {}
    for text in texts:
        if text:
            begun.setdefault(text[0], set()).add(text[1:])
    branches = [re.escape(first) + _branch(rests) for first, rests in sorted(begun.items())]
    if not branches:
        return ""
    if len(branches) == 1 and "" not in texts:
        return branches[0]
    return f"(?:{'|'.join(branches)}){'?' if '' in texts else ''}"
