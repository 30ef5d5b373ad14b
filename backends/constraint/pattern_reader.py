"""Reads a regular expression as ECMA-262 does in Unicode mode, and says where it cannot be followed.

What a finite automaton cannot do (back-references, look-around, word borders) is refused here.
"""

from typing import Literal

from msgspec import Struct

from backends.constraint.scanner import Scanner

MAX_REPEAT = 1000
"""Largest bound of a repetition."""
_MAX_DEPTH = 40
_MAX_CODE = 0x10FFFF

_SPACES = (9, 13), (32, 32), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029)
_CLASSES: dict[str, tuple[tuple[int, int], ...]] = {
    "d": ((48, 57),),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "s": (*_SPACES, (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
}
_LINE_ENDS = ((10, 10), (13, 13), (0x2028, 0x2029))
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_SYNTAX = frozenset("^$\\.*+?()[]{}|/")


class PatternError(ValueError):
    """Why a regular expression cannot be used, fit for the client."""


class Characters(Struct, frozen=True):
    """One character of a set, already in the engine's terms."""

    text: str


class Anchor(Struct, frozen=True):
    sign: Literal["^", "$"]


class Repeat(Struct, frozen=True):
    node: "Node"
    low: int
    high: int | None


class Sequence(Struct, frozen=True):
    nodes: "list[Node]"


class Choice(Struct, frozen=True):
    nodes: "list[Node]"


Node = Characters | Anchor | Repeat | Sequence | Choice


def read_pattern(source: str) -> Node:
    """Raises PatternError."""
    return _Reader(source).read()


class _Reader(Scanner):
    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._depth = 0

    def read(self) -> Node:
        node = self._choice()
        if self._at < len(self._source):
            raise self._error("a group is closed that was never opened")
        return node

    # --- structure ---------------------------------------------------------------------------------------

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._take("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(options)

    def _sequence(self) -> Node:
        nodes: list[Node] = []
        while self._at < len(self._source) and self._source[self._at] not in "|)":
            node = self._term()
            nodes.append(node if isinstance(node, Anchor) else self._repeated(node))
        return nodes[0] if len(nodes) == 1 else Sequence(nodes)

    def _term(self) -> Node:
        sign = self._next()
        match sign:
            case "^" | "$":
                if self._peek() in ("*", "+", "?", "{"):
                    raise self._error("an anchor cannot be repeated")
                return Anchor(sign)
            case ".":
                return Characters(_set(_LINE_ENDS, negated=True))
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return Characters(self._escape())
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise self._error(f"{sign!r} stands where it means nothing; write \\{sign}")
        return Characters(character(self._code(sign)))

    def _group(self) -> Node:
        if self._take("?"):
            self._group_kind()
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"groups are nested more than {_MAX_DEPTH} deep")
        node = self._choice()
        if not self._take(")"):
            raise self._error("a group is not closed")
        self._depth -= 1
        return node

    def _group_kind(self) -> None:
        """What stands between `(?` and the group's own expression."""
        if self._take(":"):
            return
        self._take("P")
        if self._take("<") and self._peek() not in ("=", "!"):
            end = self._source.find(">", self._at)
            name = self._source[self._at : end] if end >= 0 else ""
            if not name.isidentifier():
                raise self._error("a group's name is not closed or no name")
            self._at = end + 1
            return
        raise self._error("look-around and flags are not supported")

    def _repeated(self, node: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        self._take("?")  # lazy or greedy: the texts that match are the same
        if self._peek() in ("*", "+", "?", "{"):
            raise self._error("a repetition cannot be repeated; put it into a group")
        low, high = bounds
        if max(low, high or 0) > MAX_REPEAT:
            raise self._error(f"a repetition may have bounds up to {MAX_REPEAT}")
        if high is not None and high < low:
            raise self._error("the bounds of a repetition are out of order")
        return Repeat(node, low, high)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        if not self._take("{"):
            return None
        low = self._number()
        high: int | None = low
        if self._take(","):
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
            raise self._error("a repetition needs a number; write \\{ for the character")
        return int(digits[:10])

    # --- characters --------------------------------------------------------------------------------------

    def _class(self) -> Node:
        negated = self._take("^")
        parts: list[str] = []
        while not self._take("]"):
            low = self._class_member()
            if isinstance(low, int) and self._peek() == "-" and self._peek(1) not in ("]", ""):
                self._at += 1
                high = self._class_member()
                if not isinstance(high, int) or high < low:
                    raise self._error("a range of characters is out of order")
                parts.append(character_range(low, high))
            else:
                parts.append(character_range(low, low) if isinstance(low, int) else low)
        if not parts and not negated:
            raise self._error("an empty set of characters matches nothing")
        return Characters(f"[{'^' if negated else ''}{''.join(parts)}]" if parts else "(?s:.)")

    def _class_member(self) -> int | str:
        """A code point, or a set in the engine's terms."""
        character = self._next()
        if character != "\\":
            return self._code(character)
        if self._peek() == "b":
            self._at += 1
            return 8
        return self._escaped()

    def _escape(self) -> str:
        escaped = self._escaped()
        return character(escaped) if isinstance(escaped, int) else escaped

    def _escaped(self) -> int | str:
        character = self._next()
        if character.lower() in _CLASSES:
            return _set(_CLASSES[character.lower()], negated=character.isupper())
        if character in _CONTROLS:
            return _CONTROLS[character]
        match character:
            case "0" if not self._peek().isdigit():
                return 0
            case "c" if self._peek().isascii() and self._peek().isalpha():
                return ord(self._next()) % 32
            case "x":
                return self._hex(2)
            case "u":
                return self._unicode()
            case "p" | "P":
                return self._property(character)
        if character in _SYNTAX or not (character.isalnum() or character == "_"):
            return self._code(character)
        raise self._error(f"\\{character} is not supported")

    def _unicode(self) -> int:
        if self._take("{"):
            end = self._source.find("}", self._at)
            digits = self._source[self._at : end] if end >= 0 else ""
            self._at = end + 1
            return self._scalar(self._parse_hex(digits))
        high = self._hex(4)
        if 0xD800 <= high <= 0xDBFF and self._source.startswith("\\u", self._at):
            self._at += 2
            low = self._hex(4)
            if 0xDC00 <= low <= 0xDFFF:
                return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
        return self._scalar(high)

    def _hex(self, digits: int) -> int:
        text = self._source[self._at : self._at + digits]
        self._at += digits
        if len(text) < digits:
            raise self._error("an escape ends too soon")
        return self._parse_hex(text)

    def _parse_hex(self, digits: str) -> int:
        if not digits or len(digits) > 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise self._error("an escape is not a hexadecimal number")
        return int(digits, 16)

    def _property(self, character: str) -> str:
        end = self._source.find("}", self._at)
        name = self._source[self._at + 1 : end]
        if not self._take("{") or end < 0 or not name.replace("=", "").replace("_", "").isalnum():
            raise self._error(f"\\{character} needs the name of a Unicode property in braces")
        self._at = end + 1
        return f"\\{character}{{{name}}}"

    def _code(self, character: str) -> int:
        return self._scalar(ord(character))

    def _scalar(self, code: int) -> int:
        if code > _MAX_CODE or 0xD800 <= code <= 0xDFFF:
            raise self._error(f"{code:#x} is no Unicode character")
        return code

    # --- reading -----------------------------------------------------------------------------------------

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise self._error("the expression ends too soon")
        self._at += 1
        return character

    def _error(self, reason: str) -> PatternError:
        return PatternError(f"{reason} (at character {min(self._at, len(self._source))})")


def character(code: int) -> str:
    """Safe everywhere: in a set, in a pattern, between slashes."""
    character = chr(code)
    return character if character.isascii() and character.isalnum() else f"\\x{{{code:x}}}"


def character_range(low: int, high: int) -> str:
    return character(low) if low == high else f"{character(low)}-{character(high)}"


def _set(ranges: tuple[tuple[int, int], ...], *, negated: bool) -> str:
    return f"[{'^' if negated else ''}{''.join(character_range(low, high) for low, high in ranges)}]"
