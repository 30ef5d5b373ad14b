"""Objects without invented names: what says `properties` and is silent on others is closed.

Works on rewritten schemas. Pure. A small model that may invent names does so without end. Whatever a closed
schema lets out is valid under the open one, and one that has answers keeps some: every name that is demanded
or described by anything that must match as well stays writable, and where that cannot be told, it stays open.
"""

from backends.constraint.object_rules import MAX_OPTIONAL
from backends.constraint.source import Json

_PREFIX = "#/$defs/"
_JOINED = ("$ref", "allOf", "anyOf")
_TELLS_NAMES = frozenset(
    ["additionalProperties", "patternProperties", "minProperties", "maxProperties", "const", "enum"]
)
_LISTS = ("allOf", "anyOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")
_MAPS = ("properties", "patternProperties")


def close_objects(top: dict[str, Json], definitions: dict[str, Json]) -> None:
    """Close what can be, in place; `definitions` are those that `top` and they themselves refer to."""
    closing = _Closing(definitions)
    for node in (top, *definitions.values()):
        closing.find_shared(node)
    closing.close(top)
    for name, node in definitions.items():
        if name not in closing.shared:
            closing.close(node)


class _Closing:
    def __init__(self, definitions: dict[str, Json]) -> None:
        self._definitions = definitions
        self.shared: set[str] = set()
        """Definitions that a value must match beside something else."""

    def find_shared(self, node: Json) -> None:
        for part, alone in _parts(node):
            if alone:
                self.find_shared(part)
            else:
                self._share(part)

    def _share(self, node: Json) -> None:
        if not isinstance(node, dict):
            return
        name = _referred(node)
        if name is not None and name not in self.shared:
            self.shared.add(name)
            self._share(self._definitions.get(name))
        for part, _ in _parts(node):
            self._share(part)

    def close(self, node: Json) -> None:
        """A schema that is all that its value must match."""
        for part, alone in _parts(node):
            if alone:
                self.close(part)
        if not isinstance(node, dict) or _passes_on(node):
            return
        names = _Names(self._definitions)
        if not names.collect(node) or not names.described or len(names.all) > MAX_OPTIONAL:
            return
        known = _map(node.get("properties"))
        if not any(key in node for key in _JOINED):
            node["properties"] = known | {name: True for name in names.all if name not in known}
            node["additionalProperties"] = False
            return
        # Last of all, so that properties come in the order in which they came before.
        last: Json = {"properties": dict.fromkeys(names.all, True), "additionalProperties": False}
        node["allOf"] = [*_list(node.get("allOf")), last]


class _Names:
    """The names that a schema, with all that it joins, describes or demands."""

    def __init__(self, definitions: dict[str, Json]) -> None:
        self._definitions = definitions
        self._seen: set[str] = set()
        self.all: dict[str, None] = {}
        """In their order."""
        self.described = False

    def collect(self, node: Json) -> bool:
        """False if other names may matter to it too."""
        if not isinstance(node, dict):
            return True
        if _TELLS_NAMES & node.keys():
            return False
        required = [name for name in _list(node.get("required")) if isinstance(name, str)]
        self.described |= "properties" in node
        self.all |= dict.fromkeys([*_map(node.get("properties")), *required])
        name = _referred(node)
        parts = [*_list(node.get("allOf")), *_list(node.get("anyOf"))]
        if name is not None and name not in self._seen:
            self._seen.add(name)
            parts.append(self._definitions.get(name))
        return all(map(self.collect, parts))


def _parts(node: Json) -> list[tuple[Json, bool]]:
    """The schemas inside, and whether each is all that its value must match, if `node` is."""
    if not isinstance(node, dict):
        return []
    joined = any(key in node for key in _JOINED) and not _passes_on(node)
    found = [(part, not joined) for key in _LISTS for part in _list(node.get(key))]
    found += [(node[key], not joined) for key in _SINGLE if key in node]
    patterns = _map(node.get("patternProperties"))
    overlap = bool(patterns) and len(patterns) + len(_map(node.get("properties"))) > 1
    found += [(part, not joined and not overlap) for key in _MAPS for part in _map(node.get(key)).values()]
    if joined and "$ref" in node:
        found.append(({"$ref": node["$ref"]}, False))
    return found


def _passes_on(node: dict[str, Json]) -> bool:
    """Whether it says no more than one schema inside it does, or one of several."""
    said = node.keys() - {"type"}
    return said in ({"anyOf"}, {"$ref"}) or (said == {"allOf"} and len(_list(node["allOf"])) == 1)


def _referred(node: dict[str, Json]) -> str | None:
    reference = node.get("$ref")
    return reference.removeprefix(_PREFIX) if isinstance(reference, str) else None


def _map(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
