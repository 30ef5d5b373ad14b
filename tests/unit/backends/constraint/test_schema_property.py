"""Whatever is written under a schema is valid by the reference validator, whatever the schema."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from backends.base import JobError
from backends.constraint.schema import translate_schema
from tests.unit.backends.constraint.byte_engine import matcher_of, schema_matcher, write

SCHEMAS: dict[str, Any] = {
    "tree": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer", "minimum": 0, "maximum": 99},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
                },
                "required": ["value"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/node",
    },
    "formats": {
        "type": "object",
        "properties": {
            name: {"type": "string", "format": name}
            for name in (
                "date",
                "time",
                "date-time",
                "duration",
                "email",
                "hostname",
                "ipv4",
                "ipv6",
                "uuid",
                "uri",
            )
        },
        "required": ["date", "date-time", "email", "hostname", "ipv6", "uri"],
        "additionalProperties": False,
    },
    "numbers": {
        "type": "array",
        "prefixItems": [
            {"type": "integer", "multipleOf": 7, "minimum": -50, "maximum": 1000},
            {"type": "number", "exclusiveMinimum": -1.5, "exclusiveMaximum": 2.25},
            {"type": "number", "multipleOf": 0.5},
            {"type": "integer", "exclusiveMinimum": 17},
            {"type": "number", "maximum": -0.001},
            {"const": 1.5},
            {"enum": [1, 2.5, -3, 1e15]},
        ],
        "items": False,
        "minItems": 7,
    },
    "strings": {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string", "pattern": "^[a-z]{2,4}(-[0-9]+)?$"},
                {"type": "string", "minLength": 3, "maxLength": 5},
                {"type": "string", "pattern": "b", "maxLength": 4},
                {"const": 'quote " back \\ slash / tab \t'},
            ]
        },
        "minItems": 2,
        "maxItems": 6,
    },
    "objects": {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}},
        "patternProperties": {"^x_": {"type": "integer"}},
        "additionalProperties": {"type": "string"},
        "required": ["b", "c"],
    },
    "intersection": {
        "allOf": [
            {"type": "object", "properties": {"n": {"minimum": 3}}, "required": ["n"]},
            {"properties": {"n": {"type": "integer", "maximum": 5}, "m": {"enum": ["u", "v"]}}},
        ],
        "properties": {"k": {"type": ["string", "null"], "maxLength": 2}},
        "required": ["k"],
    },
    "union": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}},
                "required": ["kind"],
            },
            {"type": "object", "properties": {"kind": {"enum": ["b", "c"]}}, "required": ["kind"]},
            {"type": "string", "format": "uuid"},
        ]
    },
    "map": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-c]$"},
        "additionalProperties": {"type": "number", "minimum": 0.1, "maximum": 1e3},
    },
}


def _check(schema: Any, text: str) -> None:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    errors = [error.message for error in validator.iter_errors(json.loads(text))]
    assert not errors, (text, errors)


@pytest.mark.parametrize("name", SCHEMAS)
def test_random_answers_are_valid(name: str) -> None:
    matcher = schema_matcher(SCHEMAS[name])
    finished = 0
    for seed in range(60):
        text = write(matcher, seed)
        if text is not None:
            finished += 1
            _check(SCHEMAS[name], text)
    assert finished >= 20


_NAMES = st.sampled_from(["a", "b", "ab", "c d", "é"])
_BOUND = st.integers(-20, 20) | st.sampled_from([0.5, -1.25, 7.75, 100.125])
_CONSTANTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-99, 99)
    | st.sampled_from([0.5, -2.25])
    | st.text('ab"\\é\n', max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_NAMES, inner, max_size=2),
    max_leaves=3,
)
_TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]
_SCALARS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(_TYPES)
        | st.lists(st.sampled_from(_TYPES), min_size=1, max_size=3, unique=True),
        "minimum": _BOUND,
        "maximum": _BOUND,
        "exclusiveMinimum": _BOUND,
        "exclusiveMaximum": _BOUND,
        "multipleOf": st.sampled_from([1, 2, 3, 7, 0.5, 0.25]),
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 4),
        "pattern": st.sampled_from(["^a", "b$", "^[ab]*$", "a.b|c", r"^\w+$", r"\d"]),
        "format": st.sampled_from(["date", "ipv4", "uuid", "hostname", "email"]),
        "enum": st.lists(_CONSTANTS, min_size=1, max_size=4),
        "const": _CONSTANTS,
        "description": st.just("d"),
    },
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(_NAMES, inner, max_size=3)
    return st.builds(
        lambda scalars, others: scalars | others,
        _SCALARS,
        st.fixed_dictionaries(
            {},
            optional={
                "items": inner,
                "prefixItems": some,
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(0, 3),
                "properties": named,
                "patternProperties": st.dictionaries(st.sampled_from(["^a", "^b", r"\d"]), inner, max_size=2),
                "additionalProperties": inner,
                "required": st.lists(_NAMES, max_size=2, unique=True),
                "minProperties": st.integers(0, 2),
                "maxProperties": st.integers(0, 3),
                "allOf": some,
                "anyOf": some,
                "oneOf": some,
                "$ref": st.sampled_from(["#", "#/$defs/x"]),
            },
        ),
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    schema=st.recursive(_SCALARS | st.booleans(), _nested, max_leaves=5).filter(
        lambda s: isinstance(s, dict)
    ),
    definition=_SCALARS,
    seed=st.integers(0, 99),
)
def test_any_schema_is_refused_or_followed(
    schema: dict[str, Any], definition: dict[str, Any], seed: int
) -> None:
    schema = {**schema, "$defs": {"x": definition}}
    try:
        written = translate_schema(json.dumps(schema), "s")
        matcher = matcher_of(f"start: %json {written}")
    except (JobError, AssertionError):  # refused by the checks, or by the engine
        return
    for one in (matcher, schema_matcher(schema, closed=True)):
        for number in range(3):
            text = write(one, seed + number, patience=60)
            if text is not None:
                _check(schema, text)
