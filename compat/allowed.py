"""Which values a parameter may have, read off the types of a request: for the refusal of another one.

Owns the walk along a decoder's path through those types. Must not know any API's fields.
"""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

_STEP = re.compile(r"\[(?:\d+|\.\.\.)\]|[^.\[\]]+")


def allowed_values(kind: Any, path: str) -> list[str]:
    """Names of an enumeration, or tags of the objects that may stand there; empty: there is no such list.

    `path` is the decoder's own, without `$`: `messages[0].role`. A value inside something that is kept raw
    for later has no list.
    """
    steps = _STEP.findall(path)
    if not steps:
        return []
    holders = [inspect.type_info(kind)]
    for step in steps[:-1]:
        holders = [inner for holder in _plain(holders) for inner in _inside(holder, step)]
    return list(dict.fromkeys(value for holder in _plain(holders) for value in _values(holder, steps[-1])))


def _plain(kinds: list[inspect.Type]) -> Iterator[inspect.Type]:
    for kind in kinds:
        if isinstance(kind, inspect.Metadata):
            yield from _plain([kind.type])
        elif isinstance(kind, inspect.UnionType):
            yield from _plain(list(kind.types))
        else:
            yield kind


def _inside(holder: inspect.Type, step: str) -> Iterator[inspect.Type]:
    match holder:
        case inspect.StructType():
            yield from (field.type for field in holder.fields if field.encode_name == step)
        case inspect.DictType():
            yield holder.value_type
        case inspect.CollectionType():
            yield holder.item_type


def _values(holder: inspect.Type, step: str) -> Iterator[str]:
    if isinstance(holder, inspect.StructType) and holder.tag_field == step:
        yield str(holder.tag)
    for kind in _plain(list(_inside(holder, step))):
        match kind:
            case inspect.LiteralType():
                yield from map(str, kind.values)
            case inspect.EnumType():
                yield from (str(member.value) for member in kind.cls)
