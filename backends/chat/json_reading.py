"""JSON values in an incoming text, told piece by piece as they were written.

Follows quotes and brackets only: it finds where a value ends and does not check what is inside.
"""

import json
import re
from collections.abc import Callable

from backends.chat.incoming import Incoming, NotExpected, Reading

Tell = Callable[[str], None]

_STRUCTURE = re.compile(r'["{}\[\]]')
_IN_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_PLAIN = re.compile(r'[^"\\]*')
_SCALAR = re.compile(r"[^\s,;\]}]*")
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])")
_ESCAPE_REACH = 12


def read_value(incoming: Incoming, tell: Tell) -> Reading[None]:
    """Any value, as it is written. At the end of the text it may be cut short."""
    first = yield from incoming.peek()
    if first in ('"', "{", "["):
        yield from _read_brackets(incoming, tell)
    else:
        yield from _read_scalar(incoming, tell)


def read_string(incoming: Incoming, tell: Tell) -> Reading[None]:
    """What a string says, its escapes undone."""
    yield from incoming.expect('"')
    while True:
        match = _PLAIN.match(incoming.text, incoming.at)
        assert match is not None
        incoming.at = match.end()
        if match[0]:
            tell(match[0])
        next_one = yield from incoming.peek()
        if next_one == "\\":
            yield from _read_escape(incoming, tell)
        elif next_one in ('"', ""):
            yield from incoming.expect('"')
            return


def _read_escape(incoming: Incoming, tell: Tell) -> Reading[None]:
    """One escape, a surrogate pair as one. What is no escape is told as it is."""
    while True:
        part = incoming.text[incoming.at : incoming.at + _ESCAPE_REACH]
        if incoming.ended or len(part) == _ESCAPE_REACH or _certain(part):
            break
        yield
    match = _ESCAPE.match(part)
    raw = match[0] if match else part[:1]
    incoming.at += len(raw)
    tell(_unescape(raw))


def _certain(part: str) -> bool:
    """Whether more text could change what escape this is."""
    if len(part) < 2:
        return False
    if part[1] != "u":
        return True
    return len(part) >= 6 and not (part[2] in "dD" and part[3] in "89abAB")


def _unescape(raw: str) -> str:
    try:
        text = str(json.loads(f'"{raw}"'))
    except ValueError:
        return raw
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be sent


def _read_scalar(incoming: Incoming, tell: Tell) -> Reading[None]:
    """A number, a word or anything else without quotes and brackets. None at all is not expected."""
    while True:
        match = _SCALAR.match(incoming.text, incoming.at)
        assert match is not None
        if match.end() < len(incoming.text) or incoming.ended:
            break
        yield
    if not match[0]:
        raise NotExpected
    incoming.at = match.end()
    if match[0] != "null":
        tell(match[0])


def _read_brackets(incoming: Incoming, tell: Tell) -> Reading[None]:
    balance = _Balance()
    while True:
        begin = incoming.at
        incoming.at = balance.advance(incoming.text, begin)
        if incoming.ended and not balance.closed:
            incoming.at = len(incoming.text)
        if incoming.at > begin:
            tell(incoming.text[begin : incoming.at])
        if balance.closed or incoming.ended:
            return
        yield


class _Balance:
    """Follows one string, object or array to its end."""

    def __init__(self) -> None:
        self.closed = False
        self._depth = 0
        self._quoted = False

    def advance(self, text: str, at: int) -> int:
        """How far `text` belongs to the value; stops before a lonely backslash."""
        while not self.closed:
            pattern = _IN_STRING if self._quoted else _STRUCTURE
            match = pattern.match(text, at) if self._quoted else pattern.search(text, at)
            if match is None:
                return len(text)
            at = match.end()
            if self._quoted:
                if at >= len(text) or text[at] == "\\":
                    return at
                at += 1
                self._quoted = False
            elif match[0] == '"':
                self._quoted = True
            else:
                self._depth += 1 if match[0] in "{[" else -1
            self.closed = self._depth <= 0 and not self._quoted
        return at
