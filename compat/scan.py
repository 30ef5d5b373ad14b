"""One cheap pass over a JSON body before it is decoded.

Owns what a typed decoder does not tell: duplicate keys, nesting, and how many values a body holds (a
decoder keeps the interpreter lock, so a body of millions of tiny values would stall the event loop).
Interruptible Python: run it in a thread for large bodies. Must not judge syntax; the decoder does that.
"""

import json
import re

from compat.errors import InvalidRequest

MAX_DEPTH = 64
MAX_CONTAINERS = 20_000
"""Objects and arrays in one body: they cost the decoder about a microsecond each."""
MAX_VALUES = 500_000
"""Values in one body, numbers in token arrays above all."""

# What lies between tokens, then a string (with the colon that makes it a key) or a bracket. Possessive
# throughout: no input makes it backtrack.
_TOKEN = re.compile(rb'[^"\[\]{}]*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+")(\s*+:)?+|([\[\]{}]))', re.DOTALL)
_GAP = 16
"""Gaps shorter than this hold no run of numbers worth counting."""


def scan(body: bytes) -> None:
    """Raises InvalidRequest for a duplicate key, or for nesting and counts over the limits."""
    stack: list[tuple[set[bytes], bytes]] = []
    keys: set[bytes] = set()
    key = b""
    values = containers = 0
    for match in _TOKEN.finditer(body):
        string, colon, bracket = match.groups()
        gap_end = match.start(1) if string else match.start(3)
        if gap_end - match.start() > _GAP:
            values += body.count(b",", match.start(), gap_end)
        values += 1
        if colon:
            key = _plain(string)
            if key in keys:
                raise _duplicate([outer for _, outer in stack[1:]], key)
            keys.add(key)
        elif bracket in (b"{", b"["):
            containers += 1
            stack.append((keys, key))
            keys = set()
            if len(stack) > MAX_DEPTH:
                raise _over(stack, f"is nested more than {MAX_DEPTH} levels deep")
        elif bracket and stack:
            keys, key = stack.pop()
        if values > MAX_VALUES or containers > MAX_CONTAINERS:
            raise _over(stack, "holds too many values")


def _plain(string: bytes) -> bytes:
    """The key's own bytes: two spellings of one key are the same key."""
    if b"\\" not in string:
        return string[1:-1]
    try:
        text: str = json.loads(string.decode("utf-8", "surrogateescape"))
    except ValueError:
        return string[1:-1]
    return text.encode("utf-8", "surrogatepass")


def _duplicate(path: list[bytes], key: bytes) -> InvalidRequest:
    names = [part.decode("utf-8", "replace")[:64] for part in (*path[:8], key) if part]
    param = ".".join(names)
    return InvalidRequest(f"The key '{param}' is given twice.", param, "duplicate_key")


def _over(stack: list[tuple[set[bytes], bytes]], what: str) -> InvalidRequest:
    top = stack[1][1].decode("utf-8", "replace")[:64] if len(stack) > 1 else ""
    subject = f"'{top}'" if top else "The request body"
    return InvalidRequest(f"{subject} {what}.", top or None, "body_too_complex")
