"""Reads GBNF, the grammar notation of llama.cpp, by the rules of its own parser."""

from msgspec import Struct

from backends.constraint.pattern_reader import MAX_REPEAT, character, character_range
from backends.constraint.scanner import Scanner

_MAX_DEPTH = 40
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_ESCAPES = {"n": 10, "r": 13, "t": 9, '"': 34, "\\": 92, "[": 91, "]": 93}
_HEX = {"x": 2, "u": 4, "U": 8}


class GbnfError(ValueError):
    """Why a grammar cannot be used, fit for the client."""


class One(Struct, frozen=True):
    """One character of a set, written as a regular expression."""

    expression: str


class Rule(Struct, frozen=True):
    name: str


class Times(Struct, frozen=True):
    part: "Part"
    low: int
    high: int | None


class All(Struct, frozen=True):
    parts: "list[Part]"


class Any(Struct, frozen=True):
    parts: "list[Part]"


Part = One | Rule | Times | All | Any


def read_gbnf(source: str) -> dict[str, Part]:
    """The rules by name. Raises GbnfError."""
    return _Reader(source).rules()


class _Reader(Scanner):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._depth = 0

    def rules(self) -> dict[str, Part]:
        rules: dict[str, Part] = {}
        self._space(lines=True)
        while self._peek():
            name = self._name()
            self._space(lines=False)
            if not self._source.startswith("::=", self._at):
                raise self._error("::= is expected after a rule's name")
            self._at += 3
            self._space(lines=True)
            if name in rules:
                raise self._error(f"the rule {name!r} stands twice")
            rules[name] = self._any(lines=False)
            if self._peek() not in ("", "\n", "\r"):
                raise self._error(f"{self._peek()!r} is not expected here")
            self._space(lines=True)
        return rules

    def _any(self, *, lines: bool) -> Part:
        options = [self._all(lines=lines)]
        while self._take("|"):
            self._space(lines=True)
            options.append(self._all(lines=lines))
        return options[0] if len(options) == 1 else Any(options)

    def _all(self, *, lines: bool) -> Part:
        parts: list[Part] = []
        while (sign := self._peek()) and (sign in '"[(.' or sign in _WORD):
            part = self._part()
            self._space(lines=lines)
            parts.append(self._repeated(part, lines=lines))
        if sign and sign in "<!":
            raise self._error("tokens are not supported, only text")
        return parts[0] if len(parts) == 1 else All(parts)

    def _part(self) -> Part:
        if self._take('"'):
            return self._literal()
        if self._take("["):
            return self._set()
        if self._take("."):
            return One("(?s:.)")
        if self._take("("):
            return self._group()
        return Rule(self._name())

    def _literal(self) -> Part:
        codes: list[int] = []
        while not self._take('"'):
            codes.append(self._code())
        return All([One(character(code)) for code in codes])

    def _set(self) -> Part:
        sign = "^" if self._take("^") else ""
        ranges: list[str] = []
        while not self._take("]"):
            low = high = self._code()
            if self._peek() == "-" and self._peek(1) not in ("]", ""):
                self._at += 1
                high = self._code()
            if high < low:
                raise self._error("a range of characters is out of order")
            ranges.append(character_range(low, high))
        if not ranges:
            raise self._error("an empty set of characters matches nothing")
        return One(f"[{sign}{''.join(ranges)}]")

    def _group(self) -> Part:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"groups are nested more than {_MAX_DEPTH} deep")
        self._space(lines=True)
        part = self._any(lines=True)
        if not self._take(")"):
            raise self._error("a group is not closed")
        self._depth -= 1
        return part

    def _repeated(self, part: Part, *, lines: bool) -> Part:
        bounds = self._bounds()
        if bounds is None:
            return part
        low, high = bounds
        if max(low, high or 0) > MAX_REPEAT:
            raise self._error(f"a repetition may have bounds up to {MAX_REPEAT}")
        if high is not None and high < low:
            raise self._error("the bounds of a repetition are out of order")
        self._space(lines=lines)
        if (sign := self._peek()) and sign in "*+?{":
            raise self._error("a repetition cannot be repeated; put it into a group")
        return Times(part, low, high)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if not self._take("{"):
            return None
        self._space(lines=True)
        low = self._number()
        high: int | None = low
        if self._take(","):
            self._space(lines=True)
            high = None if self._peek() == "}" else self._number()
        if not self._take("}"):
            raise self._error("a repetition's bounds are not closed")
        return low, high

    def _number(self) -> int:
        start = self._at
        while self._peek().isascii() and self._peek().isdigit():
            self._at += 1
        digits = self._source[start : self._at]
        if not digits:
            raise self._error("a repetition needs a number")
        self._space(lines=True)
        return int(digits[:10])

    def _code(self) -> int:
        sign = self._next()
        if sign != "\\":
            return self._scalar(ord(sign))
        escape = self._next()
        if escape in _ESCAPES:
            return _ESCAPES[escape]
        if escape not in _HEX:
            raise self._error(f"\\{escape} is no escape of this notation")
        digits = self._source[self._at : self._at + _HEX[escape]]
        self._at += len(digits)
        if len(digits) < _HEX[escape] or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise self._error("an escape is not a hexadecimal number")
        return self._scalar(int(digits, 16))

    def _scalar(self, code: int) -> int:
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise self._error(f"{code:#x} is no Unicode character")
        return code

    def _name(self) -> str:
        start = self._at
        while self._peek() and self._peek() in _WORD:
            self._at += 1
        if start == self._at:
            raise self._error("a rule's name is expected")
        return self._source[start : self._at]

    def _space(self, *, lines: bool) -> None:
        while sign := self._peek():
            if sign == "#":
                ends = [end for end in (self._source.find(s, self._at) for s in "\r\n") if end >= 0]
                self._at = min(ends, default=len(self._source))
            elif sign in " \t" or (lines and sign in "\r\n"):
                self._at += 1
            else:
                return

    def _next(self) -> str:
        sign = self._peek()
        if not sign:
            raise self._error("the grammar ends too soon")
        self._at += 1
        return sign

    def _error(self, reason: str) -> GbnfError:
        line = self._source.count("\n", 0, self._at) + 1
        return GbnfError(f"{reason} (line {line})")
