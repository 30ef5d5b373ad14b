"""What is written under a struct's fields, for schemas that machines read. Reads the source, runs nothing."""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Any

from msgspec import Struct


def field_docs(struct: type[Struct]) -> dict[str, str]:
    """Text by field, inherited fields included; a field without a text is left out."""
    docs: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        if issubclass(owner, Struct) and owner is not Struct:
            docs |= _written(owner)
    return docs


def describe_fields(schema: dict[str, Any], struct: type[Struct]) -> None:
    """Put the fields' texts into the struct's JSON schema."""
    for name, text in field_docs(struct).items():
        if name in schema["properties"]:
            schema["properties"][name] = {"description": text} | schema["properties"][name]


def _written(owner: type) -> dict[str, str]:
    """The texts that stand under the fields of one class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    body = tree.body[0].body  # type: ignore[attr-defined]  # it is a class
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
