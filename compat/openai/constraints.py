"""What an answer must match: `response_format`, and beside it `regex`, `grammar` and `structured_outputs`.

`response_format` is OpenAI's. `regex` and `grammar` (GBNF, as llama-server names it) and vLLM's
`structured_outputs` may stand in the body beside it (`extra_body` in the SDKs). Owns the translation of all
to one Constraint. Must not judge schemas, expressions or grammars: the worker's prepare stage does.
"""

import re

import msgspec
from msgspec import Raw, Struct

from backends.protocol import Constraint
from compat.decoding import decode_part
from compat.errors import InvalidRequest, invalid, unsupported
from compat.openai.json_text import check_size, object_text
from compat.openai.names import check_name
from compat.openai.raw import ABSENT, is_given, kind_of

MAX_CHOICES = 1024
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")

PARAMETER_OF_KIND = {
    "json_object": "response_format",
    "json_schema": "response_format",
    "regex": "regex",
    "gbnf": "grammar",
}
"""Which of a model's parameters says that it honours a kind of constraint."""


class PlainFormat(Struct, frozen=True, forbid_unknown_fields=True):
    type: str


class NamedSchema(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    schema: Raw
    description: str | None = None
    strict: bool | None = None
    """Accepted either way: the schema always holds."""


class SchemaFormat(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    json_schema: NamedSchema


class StructuredOutputs(Struct, frozen=True, forbid_unknown_fields=True):
    """vLLM's way to say it; one of the fields."""

    json: Raw = ABSENT
    """A schema, as an object or as JSON text."""
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None


_plain = msgspec.json.Decoder(PlainFormat)
_schema = msgspec.json.Decoder(SchemaFormat)
_structured = msgspec.json.Decoder(StructuredOutputs)
_text = msgspec.json.Decoder(str)


def read_constraint(
    response_format: Raw, regex: str | None, grammar: str | None, structured_outputs: Raw
) -> Constraint | None:
    """The one constraint that the request sets. Raises InvalidRequest, also where it sets two."""
    found = [
        *_of_response_format(response_format),
        *_of_text("regex", regex, "regex"),
        *_of_text("gbnf", grammar, "grammar"),
        *_of_structured_outputs(structured_outputs),
    ]
    if len(found) > 1:
        first, second = found[0].param, found[1].param
        raise InvalidRequest(
            f"'{first}' and '{second}' both say what the answer must match; give one of them.",
            second,
            "invalid_value",
        )
    return found[0] if found else None


def _of_response_format(raw: Raw) -> list[Constraint]:
    if not is_given(raw):
        return []
    data, param = bytes(raw), "response_format"
    kind = kind_of(data, param)
    if kind in ("text", "json_object"):
        decode_part(data, _plain, param)
        return [] if kind == "text" else [Constraint("json_object", param=param)]
    if kind != "json_schema":
        raise unsupported(f"{param}.type", "'response_format.type' must be text, json_object or json_schema.")
    named = decode_part(data, _schema, param).json_schema
    check_name(named.name, f"{param}.json_schema.name")
    path = f"{param}.json_schema.schema"
    return [Constraint("json_schema", object_text(named.schema, path), path)]


def _of_structured_outputs(raw: Raw) -> list[Constraint]:
    if not is_given(raw):
        return []
    param = "structured_outputs"
    asked = decode_part(bytes(raw), _structured, param)
    found = [
        *_of_schema(asked.json, f"{param}.json"),
        *_of_text("regex", asked.regex, f"{param}.regex"),
        *_of_choice(asked.choice, f"{param}.choice"),
        *_of_text("gbnf", asked.grammar, f"{param}.grammar"),
        *([Constraint("json_object", param=f"{param}.json_object")] if asked.json_object else []),
    ]
    if not found:
        raise invalid(param, "it must hold one of json, regex, choice, grammar and json_object.")
    return found


def _of_schema(raw: Raw, param: str) -> list[Constraint]:
    if not is_given(raw):
        return []
    data = bytes(raw)
    check_size(len(data), param)
    schema = decode_part(data, _text, param).encode() if data.startswith(b'"') else data
    return [Constraint("json_schema", object_text(schema, param), param)]


def _of_text(kind: str, source: str | None, param: str) -> list[Constraint]:
    if source is None:
        return []
    if not source:
        raise invalid(param, "it must not be empty.")
    check_size(len(source.encode()), param)
    return [Constraint(kind, source, param)]  # type: ignore[arg-type]  # regex or gbnf


def _of_choice(choices: list[str] | None, param: str) -> list[Constraint]:
    if choices is None:
        return []
    if not 1 <= len(choices) <= MAX_CHOICES:
        raise invalid(param, f"1 to {MAX_CHOICES} texts, got {len(choices)}.")
    if "" in choices:
        raise invalid(f"{param}[{choices.index('')}]", "a choice must not be empty.")
    source = "|".join(_SPECIAL.sub(r"\\\g<0>", choice) for choice in choices)
    return _of_text("regex", source, param)
