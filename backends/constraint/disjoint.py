"""Whether no value can match two schemas: then oneOf means what anyOf does.

Works on rewritten schemas. Pure. Errs on the side of no.
"""

from itertools import combinations

from backends.constraint.keyword import TYPES
from backends.constraint.source import Json

_MAX_DEPTH = 8
_MAX_STEPS = 20_000
"""Comparisons for one oneOf; what takes more is not proven."""
_PREFIX = "#/$defs/"
Definitions = dict[str, Json]


def are_disjoint(schemas: list[Json], definitions: Definitions) -> bool:
    """Whether no value matches two of these."""
    return _Proof(definitions).all_disjoint(schemas)


class _Unproven(Exception):
    """It would take too long."""


class _Proof:
    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._steps = 0

    def all_disjoint(self, schemas: list[Json]) -> bool:
        try:
            return all(self._disjoint(one, other, 0) for one, other in combinations(schemas, 2))
        except _Unproven:
            return False

    def _disjoint(self, one: Json, other: Json, depth: int) -> bool:
        if one is False or other is False:
            return True
        if depth > _MAX_DEPTH:
            return False
        left, right = self._conjuncts(one, depth), self._conjuncts(other, depth)
        self._spend(len(left) * len(right))
        return any(self._conjuncts_disjoint(a, b, depth + 1) for a in left for b in right) or (
            _is_object(left) and _is_object(right) and self._objects_disjoint(left, right, depth + 1)
        )

    def _conjuncts(self, node: Json, depth: int) -> list[dict[str, Json]]:
        """Schemas that a value must match, all of them, to match this one."""
        if not isinstance(node, dict) or depth > _MAX_DEPTH:
            return []
        found = [node]
        if isinstance(reference := node.get("$ref"), str):
            found += self._conjuncts(self._definitions.get(reference.removeprefix(_PREFIX)), depth + 1)
        for part in _list(node.get("allOf")):
            found += self._conjuncts(part, depth + 1)
        return found

    def _conjuncts_disjoint(self, one: dict[str, Json], other: dict[str, Json], depth: int) -> bool:
        if not _types(one) & _types(other):
            return True
        values, others = _values(one), _values(other)
        if values is not None and others is not None:
            self._spend(len(values) * len(others))
            return not any(_equal(value, second) for value in values for second in others)
        for options, rest in ((_list(one.get("anyOf")), other), (_list(other.get("anyOf")), one)):
            if options and all(self._disjoint(option, rest, depth) for option in options):
                return True
        return False

    def _objects_disjoint(
        self, left: list[dict[str, Json]], right: list[dict[str, Json]], depth: int
    ) -> bool:
        """Whether some property that one side requires cannot be right for both."""
        names = {
            name for node in left + right for name in _list(node.get("required")) if isinstance(name, str)
        }
        return any(
            self._disjoint(a, b, depth)
            for name in sorted(names)
            for a in _property(left, name)
            for b in _property(right, name)
        )

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise _Unproven


def _property(nodes: list[dict[str, Json]], name: str) -> list[Json]:
    """What these schemas, all of them, say about a property."""
    found: list[Json] = []
    for node in nodes:
        properties = node.get("properties")
        if isinstance(properties, dict) and name in properties:
            found.append(properties[name])
        elif node.get("additionalProperties") is False and "patternProperties" not in node:
            found.append(False)
    return found or [True]


def _is_object(nodes: list[dict[str, Json]]) -> bool:
    return any(_types(node) == {"object"} for node in nodes)


def _types(node: dict[str, Json]) -> set[str]:
    """Types of values that may match, integers counted as numbers."""
    values = _values(node)
    if values is not None:
        return {_type_of(value) for value in values}
    names = node.get("type")
    listed = names if isinstance(names, list) else TYPES if names is None else [names]
    return {"number" if name == "integer" else str(name) for name in listed}


def _values(node: dict[str, Json]) -> list[Json] | None:
    if "const" in node:
        return [node["const"]]
    return _list(node["enum"]) if "enum" in node else None


def _type_of(value: Json) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case None:
            return "null"
    return "number"


def _equal(one: Json, other: Json) -> bool:
    """JSON's equality: 1 is 1.0, and neither is true."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return _type_of(one) == _type_of(other) and one == other


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
