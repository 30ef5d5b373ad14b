"""GBNF grammars as Lark grammars that match exactly the same texts.

The engine reads texts in two stages, and its first takes the longest piece that fits: `[a-z]+ "x"` would
never end. So a grammar without recursion becomes one regular expression, and one with recursion gets only
pieces of one character each, of which none is longer than another.
"""

from collections.abc import Iterator

from backends.constraint.gbnf_reader import All, Any, GbnfError, One, Part, Rule, Times, read_gbnf
from backends.constraint.pattern import write_bounds
from backends.constraint.source import check_size, refuse

_MAX_UNFOLDED = 10_000
"""Parts that counted repetitions may come to, written out."""
_ROOT = "root"


def translate_gbnf(source: str, place: str) -> str:
    """A grammar whose start is the rule `root`. Raises JobError with `place`, its path in the request."""
    check_size(source, place)
    try:
        rules = read_gbnf(source)
        _check(rules)
    except GbnfError as error:
        raise refuse(place, f"this grammar cannot be used: {error}") from None
    except RecursionError:
        raise refuse(place, "this grammar cannot be used: its rules are nested too deeply") from None
    used = _reachable(rules)
    names = {name: f"g{number}" for number, name in enumerate(rules) if name in used}
    if not _is_recursive(rules, used):
        names = {name: short.upper() for name, short in names.items()}
    lines = [f"start: {names[_ROOT]}"]
    lines += [f"{short}: {_write(rules[name], names)}" for name, short in names.items()]
    return "\n".join(lines)


def _check(rules: dict[str, Part]) -> None:
    if _ROOT not in rules:
        raise GbnfError(f"it has no rule {_ROOT!r}")
    for name, part in rules.items():
        unknown = next((other for other in _references(part) if other not in rules), None)
        if unknown is not None:
            raise GbnfError(f"the rule {name!r} needs a rule {unknown!r} that is not there")
    if _unfolded(Rule(_ROOT), rules, {}) > _MAX_UNFOLDED:
        raise GbnfError(f"its repetitions come to more than {_MAX_UNFOLDED} characters")
    finite: set[str] = set()
    while more := {name for name, part in rules.items() if name not in finite and _is_finite(part, finite)}:
        finite |= more
    if _ROOT not in finite:
        raise GbnfError("no finite text matches it")


def _is_finite(part: Part, finite: set[str]) -> bool:
    match part:
        case One():
            return True
        case Rule():
            return part.name in finite
        case Times():
            return part.low == 0 or _is_finite(part.part, finite)
        case All():
            return all(_is_finite(each, finite) for each in part.parts)
        case Any():
            return any(_is_finite(each, finite) for each in part.parts)


def _references(part: Part) -> Iterator[str]:
    match part:
        case Rule():
            yield part.name
        case Times():
            yield from _references(part.part)
        case All() | Any():
            for each in part.parts:
                yield from _references(each)


def _unfolded(part: Part, rules: dict[str, Part], known: dict[str, tuple[int, int]]) -> int:
    """Characters inside counted repetitions, once these are written out; recursion counts once."""
    return _sizes(part, rules, known)[1]


def _sizes(part: Part, rules: dict[str, Part], known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """All characters, and those inside counted repetitions."""
    match part:
        case One():
            return 1, 0
        case Rule():
            if part.name not in known:
                known[part.name] = 1, 0
                known[part.name] = _sizes(rules[part.name], rules, known)
            return known[part.name]
        case Times():
            every, counted = _sizes(part.part, rules, known)
            times = max(part.low, part.high or 1, 1)
            return every * times, every * times if times > 1 else counted
        case All() | Any():
            sizes = [_sizes(each, rules, known) for each in part.parts]
            return sum(every for every, _ in sizes), sum(counted for _, counted in sizes)


def _reachable(rules: dict[str, Part]) -> set[str]:
    found, waiting = {_ROOT}, [_ROOT]
    while waiting:
        more = set(_references(rules[waiting.pop()])) - found
        found |= more
        waiting.extend(more)
    return found


def _is_recursive(rules: dict[str, Part], used: set[str]) -> bool:
    """Whether some rule needs itself: taking away rules that need no other leaves some."""
    left = {name: set(_references(rules[name])) for name in used}
    while True:
        leaves = {name for name, needs in left.items() if not needs & left.keys()}
        if not leaves:
            return bool(left)
        left = {name: needs for name, needs in left.items() if name not in leaves}


def _write(part: Part, names: dict[str, str]) -> str:
    match part:
        case One():
            return f"/{part.expression}/"
        case Rule():
            return names[part.name]
        case Times():
            return f"({_write(part.part, names)}){write_bounds(part.low, part.high)}"
        case All():
            return " ".join(_write(each, names) for each in part.parts) or '""'
        case Any():
            return f"({' | '.join(_write(each, names) for each in part.parts)})"
