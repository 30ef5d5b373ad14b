"""JSON schemas of the types that routes name, as components of the document.

msgspec makes them, of twins of our structs in which raw fields are free; what these hold comes from `shapes`.
"""

from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Raw, Struct

from config.field_docs import describe_fields
from gateway.http.openapi.operation import Shape
from gateway.http.openapi.shapes import RAW_FIELDS, REFUSED_FIELDS

Schema = dict[str, Any]
_REF = "#/components/schemas/{name}"
_NULL: Schema = {"type": "null"}


class Schemas:
    """Schemas of `shapes` and of all that they refer to."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self._twins: dict[type[Struct], type[Struct]] = {}
        roots = [kind for shape in shapes for kind in alternatives(shape)]
        self._structs = list(structs(*roots))
        raw = [kind for struct in self._structs for kinds in _raw_kinds(struct).values() for kind in kinds]
        kinds: list[Any] = [*roots, *self._structs, *raw]
        found, self.components = msgspec.json.schema_components(map(self._twin, kinds), ref_template=_REF)
        self._by_kind = dict(zip(map(repr, kinds), found, strict=True))
        for struct in self._structs:
            self._complete(struct)

    def of(self, shape: Shape) -> Schema:
        """The schema of one of the shapes, by reference where it is a struct."""
        return _any_of([self._by_kind[repr(kind)] for kind in alternatives(shape)])

    def _complete(self, struct: type[Struct]) -> None:
        """Fill in what raw fields hold, and what is written under the fields."""
        schema = self.components[struct.__name__]
        required = set(schema.get("required", ()))
        for name, kinds in _raw_kinds(struct).items():
            allowed = [self._by_kind[repr(kind)] for kind in kinds]
            schema["properties"][name] = _any_of(allowed if name in required else [*allowed, _NULL])
        for name, values in _refused(struct).items():
            text = "Not supported; only values that ask for nothing are accepted."
            schema["properties"][name] = {"description": text, "enum": [None, *values]}
        describe_fields(schema, struct)

    def _twin(self, kind: Any) -> Any:
        """The type with every struct in it replaced by its twin."""
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self._twins.get(kind) or self._make_twin(kind)
        arguments = get_args(kind)
        if kind is Raw:
            return Any
        if not arguments or isinstance(arguments[0], str):
            return kind
        inner = tuple(self._twin(argument) for argument in arguments)
        if get_origin(kind) is Annotated:
            return Annotated[inner[0], *kind.__metadata__]
        if get_origin(kind) in (Union, UnionType):
            return Union[inner]  # noqa: UP007  # made at run time
        return get_origin(kind)[inner]

    def _make_twin(self, struct: type[Struct]) -> type[Struct]:
        """A struct of the same name and fields, but for raw ones. Structs may not refer to themselves."""
        fields = [
            (field.name, self._twin(field.type), _field(field)) for field in msgspec.structs.fields(struct)
        ]
        made = msgspec.defstruct(
            struct.__name__,
            fields,
            namespace={"__doc__": struct.__doc__} if "__doc__" in vars(struct) else {},
            kw_only=True,
            forbid_unknown_fields=struct.__struct_config__.forbid_unknown_fields,
        )
        self._twins[struct] = made
        return made


def alternatives(shape: Shape) -> tuple[Any, ...]:
    """The types of which a shape is one."""
    return shape if isinstance(shape, tuple) else () if shape is None else (shape,)


def structs(*kinds: Any) -> Iterator[type[Struct]]:
    """Every struct in these types and in the fields of such, raw ones too, each once."""
    seen: set[type[Struct]] = set()
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        if not isinstance(kind, type) or not issubclass(kind, Struct):
            waiting += [argument for argument in get_args(kind) if not isinstance(argument, str)]
        elif kind not in seen:
            seen.add(kind)
            yield kind
            waiting += [field.type for field in msgspec.structs.fields(kind)]
            waiting += [raw for kinds in _raw_kinds(kind).values() for raw in kinds]


def _raw_kinds(struct: type[Struct]) -> dict[str, tuple[Any, ...]]:
    return _of_struct(RAW_FIELDS, struct)


def _refused(struct: type[Struct]) -> dict[str, tuple[Any, ...]]:
    return _of_struct(REFUSED_FIELDS, struct)


def _of_struct(
    table: dict[tuple[type[Struct], str], tuple[Any, ...]], struct: type[Struct]
) -> dict[str, tuple[Any, ...]]:
    """What a table of fields says of a struct, its bases included."""
    return {name: kinds for (owner, name), kinds in table.items() if issubclass(struct, owner)}


def _field(field: Any) -> Any:
    """The field's default and name in JSON, for a twin."""
    default = None if isinstance(field.default, Raw) else field.default
    if field.default_factory is not NODEFAULT:
        return msgspec.field(default_factory=field.default_factory, name=field.encode_name)
    return msgspec.field(default=default, name=field.encode_name)


def _any_of(schemas: list[Schema]) -> Schema:
    flat = [one for schema in schemas for one in (schema["anyOf"] if set(schema) == {"anyOf"} else [schema])]
    return flat[0] if len(flat) == 1 else {"anyOf": flat}
