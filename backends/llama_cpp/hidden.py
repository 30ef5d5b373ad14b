"""Control tokens that users wrote: marks stand for them in a template, and they come back as mere text."""

import re
import secrets
from collections.abc import Mapping

from msgspec import Struct

Value = object
"""What JSON can hold."""


class Part(Struct, frozen=True):
    """A piece of a prompt. `literal`: a user wrote it, so no control token may come of it."""

    text: str
    literal: bool


class Hidden:
    """The control texts of one prompt that users wrote, each replaced by a mark that nobody can guess."""

    def __init__(self, control: re.Pattern[str] | None) -> None:
        self._control = control
        self._texts: list[str] = []
        # Private-use characters and digits: templates that trim or change case leave them alone.
        self._opening = f"\ue000{secrets.randbelow(10**18):018d}-"
        self._mark = re.compile(f"{re.escape(self._opening)}(\\d+)\ue001")

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

    def show(self, text: str) -> str:
        """With the hidden texts back in their places."""
        return self._mark.sub(lambda match: self._texts[int(match[1])], text)

    def split(self, rendered: str) -> list[Part]:
        """Parts in order; every odd piece of the split is the number of a hidden text."""
        pieces = self._mark.split(rendered)
        parts = [
            Part(self._texts[int(piece)], True) if index % 2 else Part(piece, False)
            for index, piece in enumerate(pieces)
        ]
        return [part for part in parts if part.text]

    def _replace(self, match: re.Match[str]) -> str:
        self._texts.append(match[0])
        return f"{self._opening}{len(self._texts) - 1}\ue001"
