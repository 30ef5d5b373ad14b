"""Fields kept as raw JSON: those whose shape depends on a value in them, and those that are refused."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from compat.decoding import decode_part
from compat.errors import unsupported

ABSENT = Raw(b"null")
"""Default of a raw field: null means absent."""


class Kind(Struct, frozen=True):
    """The one field that tells how an object's others are to be read."""

    type: str


_kind = msgspec.json.Decoder(Kind)


def is_given(raw: Raw) -> bool:
    return raw is not ABSENT and bytes(raw) != b"null"


def kind_of(data: bytes, param: str) -> str:
    """The object's `type`. Raises InvalidRequest."""
    return decode_part(data, _kind, param).type


def refuse_unless_harmless(request: Struct, harmless: dict[str, tuple[Any, ...]]) -> None:
    """Refuse every raw field of `harmless` that is given with another value than those listed."""
    for name, allowed in harmless.items():
        raw = getattr(request, name)
        if raw is not ABSENT and not is_one_of(bytes(raw), allowed):
            raise unsupported(name)


def is_one_of(raw: bytes, allowed: tuple[Any, ...]) -> bool:
    """Whether the JSON is null or one of these values, of the same type."""
    if raw == b"null":
        return True
    if len(raw) > 100:
        return False
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return any(type(value) is type(one) and value == one for one in allowed)
