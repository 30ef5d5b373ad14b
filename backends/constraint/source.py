"""Reads a JSON schema's text: size, syntax, and nothing said twice.

Owns the type of JSON values and the refusals of this package.
"""

import json
from typing import TypeAlias

from backends.base import JobError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

MAX_SOURCE_BYTES = 64 * 1024


def refuse(place: str, reason: str) -> JobError:
    """To be raised: `place` is the path inside the request."""
    return JobError(f"{place}: {reason}", param=place, code="unsupported_constraint")


def check_size(source: str, place: str) -> None:
    """Raises JobError for a source that is too long, or no Unicode text."""
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise refuse(place, "it holds half of a surrogate pair, which is no character") from None
    if size > MAX_SOURCE_BYTES:
        raise refuse(place, f"it has {size} bytes; at most {MAX_SOURCE_BYTES} are allowed")


def read_json(source: str, place: str) -> Json:
    """The value in the text, objects in their order. Raises JobError."""

    def pairs(items: list[tuple[str, Json]]) -> Json:
        names: dict[str, Json] = dict(items)
        if len(names) < len(items):
            twice = next(name for name in names if sum(name == other for other, _ in items) > 1)
            raise refuse(place, f"the key {twice!r} stands twice in one object")
        return names

    def constant(name: str) -> Json:
        raise refuse(place, f"{name} is no JSON")

    check_size(source, place)
    try:
        value: Json = json.loads(source, object_pairs_hook=pairs, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise refuse(place, "it is nested too deeply") from None
    except UnicodeEncodeError:
        raise refuse(place, "it holds half of a surrogate pair, which is no character") from None
    except ValueError as error:
        raise refuse(place, f"it is no JSON: {error}") from None
    return value
