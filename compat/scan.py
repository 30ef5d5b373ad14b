"""One cheap pass over a JSON body before it is decoded.

Owns what a typed decoder does not tell: duplicate keys, nesting, and how much there is to decode (a decoder
keeps the interpreter lock, so a body of millions of tiny values would stall the event loop). Works in small
pieces, so that on a thread it does not stall the loop itself. Must not judge syntax; the decoder does that.
"""

import json
import re

from compat.errors import InvalidRequest

MAX_DEPTH = 64
MAX_COST = 500_000
"""What decoding one body may cost, about 0.1 us a unit: 500,000 token ids, or 25,000 messages."""
_KEY_COST = 4
_CONTAINER_COST = 10

# What lies between tokens, then a string (with the colon that makes it a key), a bracket, or the quote of a
# string that is too long for one match. Possessive and bounded: no input makes it backtrack or run long.
_TOKEN = re.compile(
    rb'[^"\[\]{}]{0,65536}+'
    rb'(?:("[^"\\]{0,8192}+(?:\\.[^"\\]{0,256}+){0,256}+")(\s{0,64}+:)?+|([\[\]{}])|("))?+',
    re.DOTALL,
)
_STRING_PIECE = re.compile(rb'[^"\\]{0,65536}+(?:\\.[^"\\]{0,64}+){0,1024}+', re.DOTALL)
_NUL = b"\\u0000"
_GAP = 16
"""Gaps shorter than this hold no run of numbers worth counting."""


def scan(body: bytes) -> None:
    """Raises InvalidRequest for a duplicate key, and for nesting or cost over the limits."""
    stack: list[tuple[set[bytes], bytes]] = []
    keys: set[bytes] = set()
    key = b""
    position = cost = 0
    while position < len(body):
        match = _TOKEN.match(body, position)
        assert match is not None  # every part of the pattern may be empty
        string, colon, bracket, long_string = match.groups()
        gap_end = match.end() if match.lastindex is None else match.start(1 if string else match.lastindex)
        if gap_end - position > _GAP:
            cost += body.count(b",", position, gap_end)
        cost += 1
        position = match.end()
        if cost > MAX_COST:
            raise _over(stack, "holds too many values")
        if colon:
            cost += _KEY_COST
            key = _plain(string)
            if key in keys:
                raise _duplicate([outer for _, outer in stack], key)
            keys.add(key)
        elif long_string:
            position = _string_end(body, position)
        elif bracket in (b"{", b"["):
            cost += _CONTAINER_COST
            stack.append((keys, key))
            keys, key = set(), b""
            if len(stack) > MAX_DEPTH:
                raise _over(stack, f"is nested more than {MAX_DEPTH} levels deep")
        elif bracket and stack:
            keys, key = stack.pop()


def holds_nul(body: bytes) -> bool:
    """Whether a string in the body has the escape of the NUL character."""
    position = body.find(_NUL)
    while position >= 0:
        before = position
        while before > 0 and body[before - 1] == ord("\\"):
            before -= 1
        if (position - before) % 2 == 0:
            return True
        position = body.find(_NUL, position + 1)
    return False


def _string_end(body: bytes, position: int) -> int:
    """Where the string that is open at `position` ends, or the body does."""
    while position < len(body):
        match = _STRING_PIECE.match(body, position)
        assert match is not None  # it may be empty
        if match.end() == position:
            return position + 1
        position = match.end()
    return position


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
