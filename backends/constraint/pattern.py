"""Regular expressions: read as JSON Schema reads them, written in the engine's dialect.

That dialect gives other meanings to much that both accept (`[a&&b]`, `(?P<stop>a)`, `\\s`), so nothing is
passed through: every character is read and written anew.
"""

from backends.constraint.pattern_reader import (
    Anchor,
    Characters,
    Choice,
    Node,
    PatternError,
    Repeat,
    Sequence,
    read_pattern,
)

_MAX_UNFOLDED = 10_000
"""Characters that counted repetitions may come to, written out: the engine may have to do that."""


def translate_pattern(source: str) -> str:
    """The expression in the engine's dialect, anchors as they were. Raises PatternError."""
    node = read_pattern(source)
    _check_anchors(node, at_start=True, at_end=True)
    if _unfolded(node) > _MAX_UNFOLDED:
        raise PatternError(f"its repetitions come to more than {_MAX_UNFOLDED} characters")
    return _write(node)


def _check_anchors(node: Node, *, at_start: bool, at_end: bool) -> None:
    """Raises PatternError at an anchor in the middle: nothing could match it there, or not always."""
    match node:
        case Anchor("^") if not at_start:
            raise PatternError("^ is supported at the beginning only")
        case Anchor("$") if not at_end:
            raise PatternError("$ is supported at the end only")
        case Repeat():
            _check_anchors(node.node, at_start=False, at_end=False)
        case Choice():
            for option in node.nodes:
                _check_anchors(option, at_start=at_start, at_end=at_end)
        case Sequence():
            last = len(node.nodes) - 1
            for index, part in enumerate(node.nodes):
                _check_anchors(part, at_start=at_start and index == 0, at_end=at_end and index == last)


def _unfolded(node: Node, *, counted: bool = False) -> int:
    """Characters inside counted repetitions, once these are written out."""
    match node:
        case Repeat():
            times = max(node.low, node.high or 1, 1)
            return times * _unfolded(node.node, counted=counted or times > 1)
        case Choice() | Sequence():
            return sum(_unfolded(part, counted=counted) for part in node.nodes)
    return int(counted)


def _write(node: Node) -> str:
    match node:
        case Characters():
            return node.text
        case Anchor():
            return node.sign
        case Repeat():
            inner = _write(node.node)
            if not isinstance(node.node, Characters):
                inner = f"(?:{inner})"
            return inner + write_bounds(node.low, node.high)
        case Sequence():
            return "".join(f"(?:{_write(n)})" if isinstance(n, Choice) else _write(n) for n in node.nodes)
        case Choice():
            return "|".join(map(_write, node.nodes))


def write_bounds(low: int, high: int | None) -> str:
    """How often, after what repeats; None: without end. Lark writes it as regular expressions do."""
    match low, high:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
    return f"{{{low},{'' if high is None else high}}}"
