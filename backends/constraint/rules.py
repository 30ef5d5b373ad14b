"""What each keyword of JSON Schema becomes for the engine: one rule a keyword.

Owns the list of what is honoured, objects aside. The walk over the schema is schema.py's.
"""

import math
from collections.abc import Callable

from backends.constraint.formats import FORMATS, NUMBER_FORMATS, UNRESTRICTED
from backends.constraint.keyword import TYPES, Keyword
from backends.constraint.object_rules import (
    additional_properties,
    max_properties,
    min_properties,
    pattern_properties,
    properties,
    property_names,
    required,
)
from backends.constraint.pattern import translate_pattern
from backends.constraint.source import Json

_DIALECTS = frozenset(
    [
        "json-schema.org/draft/2020-12/schema",
        "json-schema.org/draft/2019-09/schema",
        "json-schema.org/schema",
        *(f"json-schema.org/draft-0{number}/schema" for number in (4, 6, 7)),
    ]
)
_MOVE = 1e-6
_MAX_MOVED = 1e9
"""What is smaller can be moved by so little, and then still has no more than 15 digits."""


# --- any type -----------------------------------------------------------------------------------------


def _dialect(keyword: Keyword) -> None:
    """All that these dialects share is honoured, and where they differ both ways of writing are."""
    name = keyword.value if isinstance(keyword.value, str) else ""
    if name.removesuffix("#").removeprefix("http://").removeprefix("https://") not in _DIALECTS:
        raise keyword.refuse("it is no dialect of JSON Schema that is known here")


def _type(keyword: Keyword) -> None:
    names = keyword.value if isinstance(keyword.value, list) else [keyword.value]
    if not names:
        raise keyword.refuse("at least one type is needed")
    for name in names:
        if not isinstance(name, str) or name not in TYPES:
            raise keyword.refuse(f"{name!r} is no type of JSON Schema")
    keyword.write(keyword.value)


def _const(keyword: Keyword) -> None:
    _check_constant(keyword, keyword.value)
    keyword.write(keyword.value)


def _enum(keyword: Keyword) -> None:
    if not isinstance(keyword.value, list) or not keyword.value:
        raise keyword.refuse("a list of at least one value is needed")
    for index, value in enumerate(keyword.value):
        _check_constant(keyword, value, index)
    keyword.write(keyword.value)


def _check_constant(keyword: Keyword, value: Json, *below: str | int) -> None:
    match value:
        case list():
            for index, item in enumerate(value):
                _check_constant(keyword, item, *below, index)
        case dict():
            for name, item in value.items():
                keyword.check_name(name, *below)
                _check_constant(keyword, item, *below, name)
        case bool() | str() | None:
            pass
        case _:
            keyword.check_number(value, *below)


def _all_of(keyword: Keyword) -> None:
    keyword.all_of(keyword.subschemas())


def _any_of(keyword: Keyword) -> None:
    keyword.write(keyword.subschemas())


def _one_of(keyword: Keyword) -> None:
    options = keyword.subschemas()
    keyword.walker.one_of(options, keyword.place)
    keyword.write(list(options), "anyOf")


def _ref(keyword: Keyword) -> None:
    if not isinstance(keyword.value, str):
        raise keyword.refuse("a reference is a text")
    keyword.write(keyword.walker.reference(keyword.value, keyword.place))


# --- numbers ------------------------------------------------------------------------------------------


def _bound(keyword: Keyword) -> None:
    keyword.write(keyword.number())


def _exclusive_bound(keyword: Keyword) -> None:
    """A whole bound is moved inwards by a millionth where another bound may lie less than 1 away.

    The engine would let the bound itself out there, unless the numbers are integers.
    """
    bound = keyword.number()
    upwards = keyword.name == "exclusiveMinimum"
    unit = math.floor(bound) if upwards else math.ceil(bound) - 1
    if bound != int(bound) or keyword.types() <= {"integer"} or unit not in keyword.walker.broken_units:
        keyword.write(bound)
    elif abs(bound) >= _MAX_MOVED:
        raise keyword.refuse(f"bounds of fractions are exact below {_MAX_MOVED:.0e} only")
    else:
        keyword.write(round(bound + (_MOVE if upwards else -_MOVE), 6))


def _multiple_of(keyword: Keyword) -> None:
    if keyword.number() <= 0:
        raise keyword.refuse("a number above 0 is needed")
    keyword.write(keyword.value)


# --- strings ------------------------------------------------------------------------------------------


def _count(keyword: Keyword) -> None:
    keyword.write(keyword.count())


def _pattern(keyword: Keyword) -> None:
    keyword.write(keyword.expression(keyword.value))


def _format(keyword: Keyword) -> None:
    name, types = keyword.value, keyword.types()
    if not isinstance(name, str):
        raise keyword.refuse("the name of a format is needed")
    if name in FORMATS:
        keyword.write(translate_pattern(f"^(?:{FORMATS[name]})$"), "pattern")
    elif name in NUMBER_FORMATS and "string" not in types:
        if bounds := NUMBER_FORMATS[name]:
            keyword.all_of([{"minimum": bounds[0], "maximum": bounds[1]}])
    elif name not in UNRESTRICTED:
        known = ", ".join(sorted(FORMATS))
        raise keyword.refuse(f"the format {name!r} is not supported; these are: {known}")


# --- arrays -------------------------------------------------------------------------------------------


def _items(keyword: Keyword) -> None:
    if not isinstance(keyword.value, list):
        keyword.write(keyword.walker.schema(keyword.value, keyword.place))
        return
    # Up to draft 2019-09 a list here is what prefixItems is now, and additionalItems what items is.
    if "prefixItems" in keyword.node:
        raise keyword.refuse("a list of schemas cannot stand beside prefixItems")
    if keyword.value:
        keyword.written["prefixItems"] = keyword.subschemas()
    if "additionalItems" in keyword.node:
        rest = f"{keyword.place.removesuffix('.items')}.additionalItems"
        keyword.written["items"] = keyword.walker.schema(keyword.node["additionalItems"], rest)


def _prefix_items(keyword: Keyword) -> None:
    keyword.write(list(keyword.subschemas()))


def _additional_items(keyword: Keyword) -> None:
    """Means nothing unless `items` is a list, whose rule takes it along."""


def _unique_items(keyword: Keyword) -> None:
    if not isinstance(keyword.value, bool):
        raise keyword.refuse("true or false is needed")
    most = keyword.node.get("maxItems")
    if keyword.value and not (isinstance(most, int) and most <= 1):
        raise keyword.refuse("that items differ cannot be ensured")


RULES: dict[str, Callable[[Keyword], None]] = {
    "$schema": _dialect,
    "type": _type,
    "const": _const,
    "enum": _enum,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "$ref": _ref,
    "minimum": _bound,
    "maximum": _bound,
    "exclusiveMinimum": _exclusive_bound,
    "exclusiveMaximum": _exclusive_bound,
    "multipleOf": _multiple_of,
    "minLength": _count,
    "maxLength": _count,
    "pattern": _pattern,
    "format": _format,
    "items": _items,
    "prefixItems": _prefix_items,
    "additionalItems": _additional_items,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": _unique_items,
    "properties": properties,
    "patternProperties": pattern_properties,
    "additionalProperties": additional_properties,
    "propertyNames": property_names,
    "required": required,
    "minProperties": min_properties,
    "maxProperties": max_properties,
}
"""All keywords that are honoured."""
