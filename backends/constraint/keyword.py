"""One keyword of a schema where it stands, and the schema that is being written for the engine.

Shared by the rules; knows no particular keyword.
"""

from decimal import Decimal
from typing import Protocol

from backends.base import JobError
from backends.constraint.pattern import translate_pattern
from backends.constraint.pattern_reader import MAX_REPEAT, PatternError
from backends.constraint.source import Json, refuse

_MAX_EXACT = 2**53
"""Integers beyond are rounded by the engine, and by many readers of JSON."""
_MAX_DIGITS = 15
_MAX_PLACES = 22
"""So many digits, and so far behind the point, the engine reads a number as it was written."""
TYPES = frozenset(["null", "boolean", "integer", "number", "string", "array", "object"])


# fmt: off
ANNOTATIONS = frozenset(
    [
        "id", "$comment", "$defs", "definitions", "$anchor", "title", "description", "default", "example",
        "examples", "deprecated", "readOnly", "writeOnly", "nullable", "contentEncoding",
        "contentMediaType", "contentSchema", "discriminator", "externalDocs", "xml", "enumNames",
        "enumDescriptions", "markdownDescription", "errorMessage", "propertyOrdering",
        "deprecationMessage", "tsType", "tsEnumNames",
    ]
)
# fmt: on
"""Keywords that say nothing about what is valid; beside them, all that begin with `x-`."""


class Walker(Protocol):
    """What a rule needs of the walk."""

    @property
    def broken_units(self) -> frozenset[int]:
        """Every n for which some bound in the whole schema lies between n and n + 1."""

    def schema(self, node: Json, place: str) -> Json:
        """A subschema, rewritten."""

    def reference(self, target: str, place: str) -> str:
        """Where the definition that `target` means will stand."""

    def target(self, reference: str, place: str) -> Json:
        """The schema that a reference means, as the request wrote it."""

    def one_of(self, options: list[Json], place: str) -> None:
        """To be proven disjoint once all definitions are known."""


class Keyword:
    """One keyword where it stands, and the schema that is being written for the engine."""

    def __init__(
        self, walker: Walker, written: dict[str, Json], node: dict[str, Json], name: str, place: str
    ) -> None:
        self.walker = walker
        self.written = written
        self.node = node
        self.name = name
        self.value = node[name]
        self.place = place

    def refuse(self, reason: str, *below: str | int) -> JobError:
        return refuse(".".join([self.place, *map(str, below)]), reason)

    def write(self, value: Json, name: str = "") -> None:
        """Demand `name: value`; beside what else has that name."""
        name = name or self.name
        if name in self.written or (name != self.name and name in self.node):
            self.all_of([{name: value}])
        else:
            self.written[name] = value

    def all_of(self, schemas: list[Json]) -> None:
        parts = self.written.setdefault("allOf", [])
        assert isinstance(parts, list)
        parts.extend(schemas)

    def subschemas(self) -> list[Json]:
        if not isinstance(self.value, list) or not self.value:
            raise self.refuse("a list of at least one schema is needed")
        return [self.walker.schema(node, f"{self.place}.{index}") for index, node in enumerate(self.value)]

    def named_subschemas(self) -> dict[str, Json]:
        if not isinstance(self.value, dict):
            raise self.refuse("an object of schemas is needed")
        return {name: self.walker.schema(node, f"{self.place}.{name}") for name, node in self.value.items()}

    def count(self) -> int:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise self.refuse("a whole number is needed, 0 or above")
        if value > MAX_REPEAT:
            raise self.refuse(f"at most {MAX_REPEAT} is allowed")
        if value != int(value):
            raise self.refuse("a whole number is needed, 0 or above")
        return int(value)

    def number(self) -> int | float:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse("a number is needed")
        self.check_number(value)
        return value

    def check_number(self, value: float, *below: str | int) -> None:
        if not abs(value) <= _MAX_EXACT:
            raise self.refuse(f"numbers beyond {_MAX_EXACT} (2^53) are not exact", *below)
        if isinstance(value, float):
            _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
            if len(digits) > _MAX_DIGITS or int(exponent) < -_MAX_PLACES:
                raise self.refuse(f"numbers of more than {_MAX_DIGITS} digits are not exact", *below)

    def types(self) -> set[str]:
        """The types that the schema around allows."""
        kind = self.node.get("type")
        names = kind if isinstance(kind, list) else [kind] if isinstance(kind, str) else TYPES
        return {name for name in names if isinstance(name, str)}

    def expression(self, source: Json, *below: str) -> str:
        if not isinstance(source, str):
            raise self.refuse("a regular expression is a text", *below)
        try:
            return translate_pattern(source)
        except PatternError as error:
            raise self.refuse(f"this regular expression cannot be used: {error}", *below) from None

    def names(self, key: str) -> set[str]:
        """The texts in the list that `key` has beside this keyword, if any."""
        names = self.node.get(key)
        return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()

    def check_name(self, name: str, *below: str | int) -> None:
        if any(character < " " or character == "\x7f" for character in name):
            raise self.refuse(f"the name {name!r} holds control characters", *below)
