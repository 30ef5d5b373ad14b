"""Parts of a schema by their places: the engine's own messages name none."""

from collections.abc import Callable, Iterator

from backends.base import JobError
from backends.constraint.schema import translate
from backends.constraint.source import Json, read_json

_MAX_TRIALS = 64
"""A large schema whose fault lies deep is named less exactly, rather than at the cost of seconds."""
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SINGLE = ("items", "additionalProperties", "additionalItems")


def find_culprit(source: str, place: str, fails: Callable[[Json], bool]) -> str:
    """The path of the smallest part found that fails on its own; `place` is that of the whole."""
    root = read_json(source, place)
    known = root if isinstance(root, dict) else {}
    definitions: dict[str, Json] = {key: known[key] for key in ("$defs", "definitions") if key in known}
    trials = 0

    def alone(node: Json) -> bool:
        nonlocal trials
        trials += 1
        schema: Json = {**definitions, **node} if isinstance(node, dict) else node
        try:
            return trials <= _MAX_TRIALS and fails(translate(schema, place))
        except JobError:  # a reference to what this part does not contain
            return False

    node = root
    while True:
        below = next(((path, part) for path, part in _parts(node) if alone(part)), None)
        if below is None:
            return place
        step, node = below
        place = f"{place}.{step}"


def with_keyword(node: Json, place: str, keyword: str) -> Iterator[tuple[str, dict[str, Json]]]:
    """The schemas inside a schema, itself included, that have a keyword, with their paths."""
    if isinstance(node, dict) and keyword in node:
        yield place, node
    for step, part in _parts(node):
        yield from with_keyword(part, f"{place}.{step}", keyword)


def _parts(node: Json) -> Iterator[tuple[str, Json]]:
    """The schemas directly inside a schema, with their paths in it."""
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in _LISTS and isinstance(value, list):
            yield from ((f"{key}.{index}", part) for index, part in enumerate(value))
        elif key in _MAPS and isinstance(value, dict):
            yield from ((f"{key}.{name}", part) for name, part in value.items())
        elif key in _SINGLE:
            yield key, value
