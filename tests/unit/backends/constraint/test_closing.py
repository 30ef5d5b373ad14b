"""Objects are closed to names that nothing speaks of, where that leaves all that is demanded writable."""

import json
from typing import Any

import pytest

from backends.constraint.schema import translate
from tests.unit.backends.constraint.byte_engine import accepts, schema_matcher

A: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
B: dict[str, Any] = {"type": "object", "properties": {"b": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (A, ["{}", '{"a": 1}'], ['{"b": 1}', '{"a": 1, "b": 1}']),
        ({"type": "object", "properties": {}}, ["{}"], ['{"a": 1}']),
        ({"type": "object"}, ['{"a": 1}'], []),
        ({**A, "required": ["c"]}, ['{"c": 1}', '{"a": 1, "c": null}'], ["{}", '{"c": 1, "b": 1}']),
        ({**A, "additionalProperties": True}, ['{"b": 1}'], []),
        ({**A, "patternProperties": {"^x": {}}}, ['{"b": 1}'], []),
        ({**A, "required": ["a"], "minProperties": 2}, ['{"a": 1, "b": 1}'], ['{"a": 1}']),
        ({**A, "enum": [{"b": 1}]}, ['{"b": 1}'], []),
        ({"type": "array", "items": A}, ['[{"a": 1}]'], ['[{"b": 1}]']),
        ({"properties": {"c": A}}, ['{"c": {"a": 1}}'], ['{"c": {"b": 1}}']),
        ({"additionalProperties": A}, ['{"c": {"a": 1}}'], ['{"c": {"b": 1}}']),
        ({"anyOf": [A, {"type": "null"}]}, ['{"a": 1}', "null"], ['{"b": 1}']),
        ({"allOf": [A]}, ['{"a": 1}'], ['{"b": 1}']),
        ({"$ref": "#/$defs/x", "$defs": {"x": A}}, ['{"a": 1}'], ['{"b": 1}']),
        ({"properties": {"child": {"$ref": "#"}}}, ['{"child": {"child": {}}}'], ['{"child": {"b": 1}}']),
        # What must match together is closed as one.
        ({"allOf": [A, B]}, ['{"a": 1, "b": 1}'], ['{"c": 1}']),
        ({"$ref": "#/$defs/x", **B, "$defs": {"x": A}}, ['{"b": 1}', '{"a": 1, "b": 1}'], ['{"c": 1}']),
        ({**A, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ['{"a": 1}', '{"b": 1}'], ['{"c": 1}']),
        (
            {"maxProperties": 1, "anyOf": [{**A, "required": ["a"]}, {**B, "required": ["b"]}]},
            ['{"a": 1}', '{"b": 1}'],
            ['{"a": 1, "b": 1}'],
        ),
        ({"allOf": [A, {"additionalProperties": {"type": "null"}}]}, ['{"c": null}'], []),
        # Both describe `c`: neither alone knows all its names.
        (
            {"allOf": [{"properties": {"c": A}}, {"properties": {"c": B}}]},
            ['{"c": {"a": 1, "b": 1}}'],
            ['{"d": 1}'],
        ),
        (
            {"properties": {"c": A}, "patternProperties": {"^c": B}},
            ['{"c": {"a": 1, "b": 1}}'],
            ['{"c": {"b": ""}}'],
        ),
        (
            {
                "properties": {"c": {"$ref": "#/$defs/x"}, "d": {"allOf": [{"$ref": "#/$defs/x"}, B]}},
                "$defs": {"x": A},
            },
            ['{"d": {"a": 1, "b": 1}}'],
            ['{"d": {"c": 1}}', '{"e": 1}'],
        ),
    ],
)
def test_closed(schema: Any, right: list[str], wrong: list[str]) -> None:
    matcher, opened = schema_matcher(schema, closed=True), schema_matcher(schema)
    for text in right:
        assert accepts(matcher, text), text
        assert accepts(opened, text), text
    for text in wrong:
        assert not accepts(matcher, text), text


def test_properties_keep_their_order() -> None:
    schema = {"$defs": {"x": A}, "allOf": [{"$ref": "#/$defs/x"}, B]}
    for closed in (False, True):
        matcher = schema_matcher(schema, closed=closed)
        assert accepts(matcher, '{"a": 1, "b": 2}'), closed


def test_open_unless_asked_for() -> None:
    assert "additionalProperties" not in json.dumps(translate(A, "s"))
    assert translate(A, "s", closed=True)["additionalProperties"] is False
