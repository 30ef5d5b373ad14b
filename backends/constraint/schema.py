"""JSON Schema (2020-12), checked and rewritten for the engine.

Every keyword is carried over with its meaning or refused with its place; only annotations are left out. The
walk, references and what concerns a schema as a whole are here, the keywords' rules in rules.py.
"""

import json
import math
from collections.abc import Iterator
from urllib.parse import unquote

from backends.constraint.closing import close_objects
from backends.constraint.conjunction import MAX_PATTERNS, MAX_WEIGHT, Conjunctions
from backends.constraint.disjoint import are_disjoint
from backends.constraint.finite import endless
from backends.constraint.keyword import ANNOTATIONS, Keyword
from backends.constraint.rules import RULES
from backends.constraint.source import Json, read_json, refuse

_MAX_DEPTH = 100
"""Nested schemas, those behind references included: the engine's own recursion must not end a process."""
_BOUNDS = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])

ENGINE_OPTIONS: dict[str, Json] = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""White space as models write it on one line, and no other: it cannot go on for ever, names are forced whole.

It is what the starter model likes best (log-probability of all that it chose in five tasks: -63; with free
white space -79, without any -76), and 43 % of its tokens are forced (14 % and 37 %).
"""


def translate_schema(source: str, place: str, *, closed: bool = False) -> str:
    """The schema in this JSON text in the engine's own terms, fit for `%json` in a grammar.

    `place`: its path in the request. `closed`: no names but those that the schema speaks of. Raises JobError,
    whose `param` is the path of what cannot be honoured.
    """
    return json.dumps(translate(read_json(source, place), place, closed=closed), ensure_ascii=False)


def translate(schema: Json, place: str, *, closed: bool = False) -> dict[str, Json]:
    """As translate_schema, for a schema that has been read."""
    return _Walk(schema, place).translate(closed)


class _Walk:
    def __init__(self, root: Json, place: str) -> None:
        self._root = root
        self._place = place
        self._depth = 0
        self._names: dict[tuple[str, ...], str] = {}
        self._places: dict[str, str] = {}
        self._definitions: dict[str, Json] = {}
        self._one_ofs: list[tuple[list[Json], str]] = []
        self._all_ofs: list[tuple[Json, str]] = []
        self.broken_units = frozenset(_broken_units(root))

    def translate(self, closed: bool) -> dict[str, Json]:
        node = self.schema(self._root, self._place)
        if node is False:
            raise refuse(self._place, "nothing can match it")
        top = dict(node) if isinstance(node, dict) else {}
        facts = Conjunctions(self._definitions)
        for whole, place in self._all_ofs:
            if facts.weight(whole) > MAX_WEIGHT:
                raise refuse(
                    place, f"with all that it refers to it has more than {MAX_WEIGHT} schemas to merge"
                )
            if facts.patterns(whole) > MAX_PATTERNS:
                raise refuse(place, f"at most {MAX_PATTERNS} schemas with patterns or formats can be merged")
        for options, place in self._one_ofs:
            if not are_disjoint(options, self._definitions):
                raise refuse(
                    place,
                    "its schemas may overlap; use anyOf, or give each a property with a const of its own",
                )
        name = endless(top, self._definitions)
        if name is not None:
            raise refuse(self._places.get(name, self._place), "nothing finite can match it")
        if closed:  # what was proven above of open schemas holds for closed ones too
            close_objects(top, self._definitions)
        if self._definitions:
            top["$defs"] = self._definitions
        top["x-guidance"] = ENGINE_OPTIONS
        return top

    def schema(self, node: Json, place: str) -> Json:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise refuse(place, "a schema is an object, true or false")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise refuse(place, f"schemas are nested more than {_MAX_DEPTH} deep")
        written: dict[str, Json] = {}
        for name in node:
            self._keyword(written, node, name, f"{place}.{name}")
        self._depth -= 1
        if "allOf" in written:
            self._all_ofs.append((written, place))
        return written

    def _keyword(self, written: dict[str, Json], node: dict[str, Json], name: str, place: str) -> None:
        if rule := RULES.get(name):
            rule(Keyword(self, written, node, name, place))
        elif name == "$id":
            if node is not self._root and not str(node[name]).startswith("#"):
                raise refuse(place, "only the whole schema may have one: it changes what references mean")
        elif name not in ANNOTATIONS and not name.startswith("x-"):
            raise refuse(place, "this keyword is not supported; annotations of your own may begin with x-")

    def one_of(self, options: list[Json], place: str) -> None:
        self._one_ofs.append((options, place))

    # --- references --------------------------------------------------------------------------------------

    def reference(self, target: str, place: str) -> str:
        pointer = _pointer(target, place)
        if pointer not in self._names:
            name = self._names[pointer] = f"d{len(self._names)}"
            self._places[name] = ".".join([self._place, *pointer])
            self._definitions[name] = self.schema(self.target(target, place), self._places[name])
        return f"#/$defs/{self._names[pointer]}"

    def target(self, reference: str, place: str) -> Json:
        node = self._root
        for step in _pointer(reference, place):
            if isinstance(node, dict) and step in node:
                node = node[step]
            elif isinstance(node, list) and step.isascii() and step.isdigit() and int(step) < len(node):
                node = node[int(step)]
            else:
                raise refuse(place, f"{reference} leads nowhere")
        return node


def _broken_units(node: Json) -> Iterator[int]:
    if isinstance(node, list):
        for part in node:
            yield from _broken_units(part)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _BOUNDS and isinstance(value, float) and math.isfinite(value) and value % 1:
                yield math.floor(value)
            yield from _broken_units(value)


def _pointer(reference: str, place: str) -> tuple[str, ...]:
    if reference in ("#", "#/"):
        return ()
    if not reference.startswith("#/"):
        raise refuse(place, "only references inside the schema are followed, as #/$defs/name")
    steps = unquote(reference[2:]).split("/")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)
