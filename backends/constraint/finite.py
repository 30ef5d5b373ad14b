"""Whether a rewritten schema has finite answers at all: `{"$ref": "#"}` has none.

Pure. Errs on the side of yes: the engine finds the other contradictions.
"""

from backends.constraint.source import Json

_PREFIX = "#/$defs/"


def endless(top: dict[str, Json], definitions: dict[str, Json]) -> str | None:
    """None if there are; else the name of a definition that has none, or nothing for the whole."""
    finite: set[str] = set()
    while True:
        found = {
            name for name, node in definitions.items() if name not in finite and _is_finite(node, finite)
        }
        if not found:
            break
        finite |= found
    if _is_finite(top, finite):
        return None
    return next((name for name in definitions if name not in finite), "")


def _is_finite(node: Json, finite: set[str]) -> bool:
    """Whether some finite value matches, if exactly the definitions in `finite` have such values."""
    if not isinstance(node, dict):
        return node is not False
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.removeprefix(_PREFIX) not in finite:
        return False
    if not all(_is_finite(part, finite) for part in _list(node.get("allOf"))):
        return False
    options = _list(node.get("anyOf"))
    if options and not any(_is_finite(option, finite) for option in options):
        return False
    types = node.get("type")
    if types == "object":
        return all(_is_finite(part, finite) for part in _required_parts(node))
    if types == "array":
        return all(_is_finite(part, finite) for part in _required_items(node))
    return True


def _required_parts(node: dict[str, Json]) -> list[Json]:
    properties = node.get("properties")
    known = properties if isinstance(properties, dict) else {}
    return [known[name] for name in _list(node.get("required")) if isinstance(name, str) and name in known]


def _required_items(node: dict[str, Json]) -> list[Json]:
    count = node.get("minItems", 0)
    count = count if isinstance(count, int) else 0
    first = _list(node.get("prefixItems"))[:count]
    return [*first, node.get("items", True)] if count > len(first) else first


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
