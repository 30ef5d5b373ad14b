"""How much the engine has to do to bring schemas that all must match together into one.

Works on rewritten schemas. Pure. The engine copies what it merges: a definition demanded twice by one that is
demanded twice, and so on, would fill the memory. And for each further regular expression that one text has to
match it may take ten times as long to see whether any text is left.
"""

from backends.constraint.source import Json

MAX_WEIGHT = 4000
"""Schemas that may be merged into one, those inside them counted, and each as often as it is referred to."""
MAX_PATTERNS = 6
"""Of the schemas that must all match, those that may hold regular expressions."""
_PREFIX = "#/$defs/"
_MAPS = ("properties", "patternProperties")
_LISTS = ("prefixItems", "allOf", "anyOf")
_SINGLE = ("items", "additionalProperties")


class Conjunctions:
    """Facts about schemas that refer to `definitions`."""

    def __init__(self, definitions: dict[str, Json]) -> None:
        self._definitions = definitions
        self._weights: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._holding: dict[str, bool] = {}

    def weight(self, node: Json) -> int:
        """How many schemas it comes to once every reference is replaced; recursion counts once."""
        if not isinstance(node, dict):
            return 1
        own = 1 + sum(map(self.weight, _children(node)))
        name = _referred(node)
        if name is None:
            return own
        if name not in self._weights:
            self._weights[name] = 1
            self._weights[name] = self.weight(self._definitions.get(name))
        return own + self._weights[name]

    def patterns(self, node: Json) -> int:
        """How many of the schemas that a value must match at once hold regular expressions."""
        if not isinstance(node, dict):
            return 0
        count = int(self._holds(node, beside=("allOf", "anyOf")))
        count += sum(map(self.patterns, _list(node.get("allOf"))))
        count += max(map(self.patterns, _list(node.get("anyOf"))), default=0)
        name = _referred(node)
        if name is None:
            return count
        if name not in self._counts:
            self._counts[name] = 0
            self._counts[name] = self.patterns(self._definitions.get(name))
        return count + self._counts[name]

    def _holds(self, node: Json, beside: tuple[str, ...] = ()) -> bool:
        """Whether there is a regular expression in it, or in what it refers to from inside."""
        if not isinstance(node, dict):
            return False
        if "pattern" in node or node.get("patternProperties"):
            return True
        if any(map(self._holds, _children({key: node[key] for key in node if key not in beside}))):
            return True
        name = None if beside else _referred(node)
        if name is None:
            return False
        if name not in self._holding:
            self._holding[name] = False
            self._holding[name] = self._holds(self._definitions.get(name))
        return self._holding[name]


def _children(node: dict[str, Json]) -> list[Json]:
    found = [node[key] for key in _SINGLE if key in node]
    for key in _LISTS:
        found += _list(node.get(key))
    for key in _MAPS:
        schemas = node.get(key)
        found += schemas.values() if isinstance(schemas, dict) else []
    return found


def _referred(node: dict[str, Json]) -> str | None:
    reference = node.get("$ref")
    return reference.removeprefix(_PREFIX) if isinstance(reference, str) else None


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
