"""Texts as terminals of llguidance's Lark dialect."""

import json
import re
from collections.abc import Callable, Mapping

from backends.chat.families import MISTRAL_ID_LENGTH
from backends.chat.writing import MISTRAL_ID

_SPACE = "[ \\n]"
_GAP = f"{_SPACE}{{0,2}}"
_PARTS = re.compile(r"(\n| |\[(?={)|{)")
"""White space, and the brackets that open JSON: those of `[ARGS]` belong to a marker."""
_LOOSE = {"\n": _GAP, " ": f"{_SPACE}?", "{": f"{_GAP}\\{{{_GAP}", "[": f"{_GAP}\\[{_GAP}"}


class Terminals:
    """`control`: ids of the texts that are control tokens; a grammar knows those by number only."""

    def __init__(self, control: Mapping[str, int]) -> None:
        self._special = {text: f"<[{token}]>" for text, token in control.items()}
        self._special[MISTRAL_ID] = f"/[a-zA-Z0-9]{{{MISTRAL_ID_LENGTH}}}/"
        longest_first = sorted(self._special, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})")

    def is_control(self, text: str) -> bool:
        return text in self._special

    def exact(self, text: str) -> str:
        """`text`, letter by letter; nothing where it is empty."""
        return self._join(text, lambda piece: json.dumps(piece, ensure_ascii=False))

    def loose(self, text: str) -> str:
        """`text` with any white space that models put around JSON: less or a little more."""
        return self._join(text, _loose)

    def _join(self, text: str, write: Callable[[str], str]) -> str:
        pieces = [piece for piece in self._pattern.split(text) if piece]
        return " ".join(self._special.get(piece) or write(piece) for piece in pieces)


def _loose(piece: str) -> str:
    if not piece.strip():
        return f"(/{_SPACE}{{1,2}}/)?"  # a terminal must not be empty
    return f"/{''.join(_LOOSE.get(part) or regex_literal(part) for part in _PARTS.split(piece))}/"


def regex_literal(text: str) -> str:
    """A regular expression for just this text, fit to stand between slashes."""
    return "".join(f"\\{character}" if character in _SYNTAX else character for character in text)


_SYNTAX = frozenset("\\.+*?()|[]{}^$/#&-~")
