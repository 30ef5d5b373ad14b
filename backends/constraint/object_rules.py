"""What the keywords for objects become for the engine.

Two traps decide here: the engine lets undeclared names repeat, and it takes a long run of optional properties
only up to a length.
"""

from backends.constraint.keyword import ANNOTATIONS, Keyword
from backends.constraint.source import Json

MAX_OPTIONAL = 400
"""Optional properties of one object: with more of them the engine gives up in the middle of an answer."""


def properties(keyword: Keyword) -> None:
    schemas = keyword.named_subschemas()
    for name in schemas:
        keyword.check_name(name)
    optional = len(set(schemas) - keyword.names("required"))
    if optional > MAX_OPTIONAL:
        raise keyword.refuse(f"at most {MAX_OPTIONAL} properties may be optional, here are {optional}")
    keyword.write(schemas)


def pattern_properties(keyword: Keyword) -> None:
    written: dict[str, Json] = {}
    for source, schema in keyword.named_subschemas().items():
        expression = keyword.expression(source, source)
        if expression in written:
            raise keyword.refuse("two of these patterns are the same", source)
        written[expression] = schema
    keyword.write(written)


def additional_properties(keyword: Keyword) -> None:
    if not _names_are_bound(keyword):
        keyword.write(keyword.walker.schema(keyword.value, keyword.place))


def required(keyword: Keyword) -> None:
    names = keyword.value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise keyword.refuse("a list of names is needed")
    for name in keyword.names("required"):
        keyword.check_name(name)
    keyword.write(names)


def min_properties(keyword: Keyword) -> None:
    most = len(keyword.names("required")) + 1
    if keyword.count() > most:
        raise keyword.refuse(f"only {most} can be ensured here, since other names could repeat")
    keyword.write(keyword.count())


def max_properties(keyword: Keyword) -> None:
    keyword.write(keyword.count())


def property_names(keyword: Keyword) -> None:
    """A list or a pattern of names, as typed maps have them."""
    if not _names_are_bound(keyword):
        return
    if {"properties", "patternProperties"} & set(keyword.node):
        raise keyword.refuse("it cannot stand beside properties or patternProperties")
    rest = f"{keyword.place.removesuffix('.propertyNames')}.additionalProperties"
    schema = keyword.walker.schema(keyword.node.get("additionalProperties", True), rest)
    match _names_schema(keyword):
        case {"const": str(name), **others} if not others:
            _only(keyword, [name], schema)
        case {"enum": list(listed), **others} if not others and all(isinstance(n, str) for n in listed):
            _only(keyword, [str(name) for name in listed], schema)
        case {"pattern": source, **others} if not others:
            keyword.written["patternProperties"] = {keyword.expression(source, "pattern"): schema}
        case _:
            raise keyword.refuse("only one of const, enum and pattern is supported here")
    keyword.written["additionalProperties"] = False


def _only(keyword: Keyword, names: list[str], schema: Json) -> None:
    for name in names:
        keyword.check_name(name)
    keyword.written["properties"] = dict.fromkeys(names, schema)


def _names_are_bound(keyword: Keyword) -> bool:
    """Whether there is a propertyNames that excludes any name."""
    names = keyword.node.get("propertyNames", True)
    return names is not True and not (isinstance(names, dict) and not _telling(names))


def _names_schema(keyword: Keyword) -> dict[str, Json]:
    names = keyword.value
    if isinstance(names, dict) and set(_telling(names)) == {"$ref"}:
        names = keyword.walker.target(str(names["$ref"]), f"{keyword.place}.$ref")
    return _telling(names) if isinstance(names, dict) else {}


def _telling(names: dict[str, Json]) -> dict[str, Json]:
    """What a schema of names says beyond that they are texts."""
    return {
        key: value
        for key, value in names.items()
        if key not in ANNOTATIONS and not key.startswith("x-") and (key, value) != ("type", "string")
    }
