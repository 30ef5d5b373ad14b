"""Schemas: every refusal names its place; what is let through is honoured."""

import json
from typing import Any

import pytest

from backends.base import JobError
from backends.constraint.schema import translate_schema
from tests.unit.backends.constraint.byte_engine import accepts, schema_matcher

BIG = 2**53 + 1


def _refusal(source: Any, place: str = "s") -> JobError:
    text = source if isinstance(source, str) else json.dumps(source)
    with pytest.raises(JobError) as caught:
        translate_schema(text, place)
    assert caught.value.code == "unsupported_constraint"
    assert caught.value.message.startswith(caught.value.param)
    return caught.value


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"not": {}}, "not"),
        ({"if": {}}, "if"),
        ({"contains": {}}, "contains"),
        ({"dependentRequired": {}}, "dependentRequired"),
        ({"unevaluatedProperties": False}, "unevaluatedProperties"),
        ({"$dynamicRef": "#a"}, "$dynamicRef"),
        ({"maxLenght": 3}, "maxLenght"),
        ({"properties": {"a": {"format": "regex"}}}, "properties.a.format"),
        ({"properties": {"a": {"items": {"anyOf": [{}, {"not": {}}]}}}}, "properties.a.items.anyOf.1.not"),
        ({"properties": {"a": 3}}, "properties.a"),
        ({"properties": []}, "properties"),
        ({"properties": {"a\nb": {}}}, "properties"),
        ({"required": ["a\x00"]}, "required"),
        ({"required": True}, "required"),
        ({"required": [1]}, "required"),
        ({"patternProperties": {"(?=a)": {}}}, "patternProperties.(?=a)"),
        ({"patternProperties": {"[0-9]": {}, r"\d": {}}}, r"patternProperties.\d"),
        ({"additionalProperties": {"not": {}}}, "additionalProperties.not"),
        ({"minProperties": 2}, "minProperties"),
        ({"minProperties": 3, "required": ["a"]}, "minProperties"),
        ({"propertyNames": {"maxLength": 3}}, "propertyNames"),
        ({"propertyNames": {"enum": ["a"], "pattern": "a"}}, "propertyNames"),
        ({"propertyNames": {"enum": [1]}}, "propertyNames"),
        ({"propertyNames": False}, "propertyNames"),
        ({"propertyNames": {"enum": ["a"]}, "properties": {}}, "propertyNames"),
        ({"minItems": 1001}, "minItems"),
        ({"maxItems": 1e9}, "maxItems"),
        ({"maxItems": 10**400}, "maxItems"),
        ({"minLength": 1001}, "minLength"),
        ({"maxLength": 1001}, "maxLength"),
        ({"maxLength": -1}, "maxLength"),
        ({"maxLength": 1.5}, "maxLength"),
        ({"maxLength": True}, "maxLength"),
        ({"minProperties": 1001}, "minProperties"),
        ({"maxProperties": 1001}, "maxProperties"),
        ({"uniqueItems": True}, "uniqueItems"),
        ({"uniqueItems": 1}, "uniqueItems"),
        ({"items": [{}], "prefixItems": [{}]}, "items"),
        ({"items": [{}], "additionalItems": {"not": {}}}, "additionalItems.not"),
        ({"prefixItems": []}, "prefixItems"),
        ({"type": "any"}, "type"),
        ({"type": []}, "type"),
        ({"type": ["string", 1]}, "type"),
        ({"enum": []}, "enum"),
        ({"enum": [1, BIG]}, "enum.1"),
        ({"const": {"a": [BIG]}}, "const.a.0"),
        ({"const": {"a\tb": 1}}, "const"),
        ({"minimum": BIG}, "minimum"),
        ({"minimum": "3"}, "minimum"),
        ({"exclusiveMinimum": True}, "exclusiveMinimum"),
        ({"multipleOf": 0}, "multipleOf"),
        ({"exclusiveMaximum": 2e9, "minimum": 1999999999.5}, "exclusiveMaximum"),
        ({"minimum": 0.9573719809756369}, "minimum"),
        ({"const": [1.7e-300]}, "const.0"),
        ({"pattern": "(a+)+b{1,2000}"}, "pattern"),
        ({"pattern": 3}, "pattern"),
        ({"format": 3}, "format"),
        ({"type": "string", "format": "int64"}, "format"),
        ({"format": "int32"}, "format"),
        ({"$ref": "https://example.com/schema"}, "$ref"),
        ({"$ref": "other.json#/a"}, "$ref"),
        ({"$ref": "#anchor"}, "$ref"),
        ({"$ref": "#/$defs/a"}, "$ref"),
        ({"$ref": 3}, "$ref"),
        ({"properties": {"a": {"$id": "b"}}}, "properties.a.$id"),
        ({"$schema": "https://example.com/own"}, "$schema"),
        ({"$defs": {"a": {"not": {}}}, "items": {"$ref": "#/$defs/a"}}, "$defs.a.not"),
        ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, "oneOf"),
        ({"oneOf": []}, "oneOf"),
        ({"items": {"allOf": [{"pattern": f"a{n}"} for n in range(7)]}}, "items"),
        (
            {"items": {"allOf": [{"anyOf": [{"pattern": f"{m}{n}"} for m in "ab"]} for n in range(7)]}},
            "items",
        ),
        (
            {
                "$defs": {
                    "a": {"allOf": [{"pattern": "a"}, {"pattern": "b"}, {"pattern": "c"}]},
                    "b": {"allOf": [{"$ref": "#/$defs/a"}, {"pattern": "d", "format": "date"}]},
                },
                "items": {"allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]},
            },
            "items",
        ),
        ({"anyOf": {}}, "anyOf"),
        ({"allOf": [{"oneOf": [{}, {}]}]}, "allOf.0.oneOf"),
        ({"properties": {f"p{number}": {} for number in range(401)}}, "properties"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_names_its_place(schema: Any, path: str) -> None:
    assert (
        _refusal(schema, "response_format.json_schema.schema").param
        == f"response_format.json_schema.schema.{path}"
    )


@pytest.mark.parametrize(
    "source",
    [
        "",
        "{",
        '{"a": NaN}',
        '{"type": "object", "type": "string"}',
        '{"const": "\\ud800"}',
        '"\ud800"',
        '{"a": "' + "x" * 65536 + '"}',
        '{"items": ' * 40000 + "{}" + "}" * 40000,
        '{"items": ' * 101 + "{}" + "}" * 101,
        "3",
        "[]",
        "null",
        "false",
        '{"$ref": "#"}',
        '{"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}',
        '{"allOf": [false]}',
        '{"anyOf": [false]}',
        '{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}',
        '{"type": "array", "items": {"$ref": "#"}, "minItems": 1}',
        '{"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1}',
        '{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}',
    ],
    ids=lambda source: source[:40],
)
def test_what_is_no_schema_or_never_ends_is_refused(source: str) -> None:
    assert _refusal(source).param.split(".")[0] == "s"


def test_a_chain_of_references_is_nested_too() -> None:
    chain = {f"d{n}": {"type": "array", "items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(200)}
    refusal = _refusal({"$defs": {**chain, "d200": {}}, "$ref": "#/$defs/d0"})
    assert "nested" in refusal.message


def _doubled(end: Any) -> Any:
    chain = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$defs": {**chain, "d40": end}, "$ref": "#/$defs/d0"}


def test_what_would_fill_the_memory_is_refused() -> None:
    assert "merge" in _refusal(_doubled({"properties": {"a": {"enum": ["b"]}}})).message


def test_many_choices_are_told_apart_within_bounds() -> None:
    def choices(count: int) -> Any:
        options = [
            {"properties": {"a": {"const": n}}, "required": ["a"], "type": "object"} for n in range(count)
        ]
        return {"oneOf": options}

    assert translate_schema(json.dumps(choices(60)), "s")
    assert _refusal(choices(600)).param == "s.oneOf"


def test_annotations_are_left_out() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/root",
        "$comment": "c",
        "title": "t",
        "description": "d",
        "default": 1,
        "examples": [1],
        "deprecated": True,
        "readOnly": True,
        "x-guidance": {"lenient": True, "whitespace_pattern": "[ ]+"},
        "x-own": {"not": {}},
        "$defs": {"a": {"not": {}}},
        "type": "integer",
    }
    written = json.loads(translate_schema(json.dumps(schema), "s"))
    assert written.keys() == {"type", "x-guidance"}
    assert "lenient" not in written["x-guidance"]


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "integer", "minimum": -3, "exclusiveMaximum": 5}, ["-3", "4"], ["-4", "5", "1.5", '"1"']),
        ({"type": "number", "exclusiveMinimum": 7, "maximum": 7.5}, ["7.1", "7.5"], ["7", "7.0", "8"]),
        ({"type": "number", "exclusiveMaximum": -8, "minimum": -8.9}, ["-8.5"], ["-8", "-9"]),
        ({"allOf": [{"exclusiveMinimum": 7}, {"maximum": 7.5}], "type": "number"}, ["7.5"], ["7"]),
        (
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            ["0.9", "0.5"],
            ["0", "1", "0.0", "1.0"],
        ),
        ({"type": "integer", "exclusiveMinimum": 2000000000}, ["2000000001"], ["2000000000"]),
        ({"type": "number", "multipleOf": 0.25}, ["1.25", "-2"], ["1.3"]),
        ({"type": "integer", "format": "int32"}, ["2147483647"], ["2147483648"]),
        ({"type": "number", "format": "double"}, ["1e9"], ["true"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"aé"', '"a\\nb"'], ['"a"', '"abcd"']),
        ({"type": "string", "format": "date", "pattern": "^2"}, ['"2024-02-29"'], ['"1999-12-31"', '"2x"']),
        ({"type": "string", "format": "password"}, ['"x"'], ["1"]),
        ({"enum": ["a", 1, None, {"b": [True]}]}, ['"a"', "1", "null", '{"b": [true]}'], ["2", "true"]),
        ({"const": "a/é\n"}, ['"a/é\\n"'], ['"a"']),
        ({"type": ["string", "null"]}, ['"a"', "null"], ["1"]),
        (
            {"type": "array", "items": {"type": "integer"}, "maxItems": 2},
            ["[]", "[1, 2]"],
            ["[1, 2, 3]", "1"],
        ),
        (
            {"items": [{"type": "integer"}, {"type": "string"}], "additionalItems": False, "type": "array"},
            ["[]", '[1, "a"]'],
            ['["a"]', '[1, "a", 2]'],
        ),
        ({"prefixItems": [{"type": "null"}], "type": "array"}, ["[null, 1]"], ["[1]"]),
        ({"type": "array", "uniqueItems": True, "maxItems": 1}, ["[1]"], ["[1, 1]"]),
        (
            {"type": "object", "properties": {"b": {"type": "integer"}, "a": {}}, "required": ["b"]},
            ['{"b": 1, "a": 2}', '{"b": 1}', '{"b": 1, "c": 2}'],
            ['{"a": 2}', '{"b": "x"}'],
        ),
        (
            {"type": "object", "properties": {"a": {}}, "additionalProperties": False},
            ["{}", '{"a": 1}'],
            ['{"b": 1}', '{"\\u0061": 1}'],
        ),
        (
            {
                "type": "object",
                "propertyNames": {"enum": ["a", "b"]},
                "additionalProperties": {"type": "null"},
            },
            ['{"a": null}', "{}"],
            ['{"c": null}', '{"a": 1}'],
        ),
        (
            {"type": "object", "propertyNames": {"type": "string", "pattern": "^k"}},
            ['{"k1": 1}'],
            ['{"x": 1}'],
        ),
        (
            {
                "$defs": {"Name": {"title": "Name", "enum": ["a"], "type": "string"}},
                "type": "object",
                "propertyNames": {"$ref": "#/$defs/Name"},
            },
            ['{"a": 1}'],
            ['{"b": 1}'],
        ),
        ({"type": "object", "propertyNames": {"type": "string"}}, ['{"a": 1}'], ["1"]),
        ({"type": "object", "minProperties": 1}, ['{"a": 1}'], ["{}"]),
        ({"type": "object", "maxProperties": 1}, ['{"a": 1}', "{}"], ['{"a": 1, "b": 1}']),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}], "oneOf": [{"const": 1}, {"const": "a"}]},
            ["1", '"a"'],
            ["2"],
        ),
        (
            {
                "$defs": {
                    "cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
                    "dog": {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]},
                },
                "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
                "discriminator": {"propertyName": "kind"},
            },
            ['{"kind": "cat"}', '{"kind": "dog"}'],
            ['{"kind": "cow"}'],
        ),
        (
            {
                "oneOf": [
                    {
                        "type": "object",
                        "properties": {"a": {}},
                        "required": ["a"],
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "properties": {"b": {}},
                        "required": ["b"],
                        "additionalProperties": False,
                    },
                ]
            },
            ['{"a": 1}', '{"b": 1}'],
            ['{"a": 1, "b": 1}', "{}"],
        ),
        (
            {"type": "object", "properties": {"child": {"$ref": "#"}}, "additionalProperties": False},
            ["{}", '{"child": {"child": {}}}'],
            ['{"child": 1}'],
        ),
        ({"$ref": "#/definitions/x~0y~1z%25", "definitions": {"x~y/z%": {"const": 1}}}, ["1"], ["2"]),
        ({"$schema": "https://json-schema.org/draft-04/schema", "items": {"$id": "#/items"}}, ["[1]"], ["["]),
        (True, ["1", '{"a": [null]}'], ["{"]),
        ({}, ["1"], [""]),
    ],
)
def test_what_is_let_through_is_honoured(schema: Any, right: list[str], wrong: list[str]) -> None:
    matcher = schema_matcher(schema)
    for text in right:
        assert accepts(matcher, text), text
    for text in wrong:
        assert not accepts(matcher, text), text


def test_white_space_cannot_go_on() -> None:
    matcher = schema_matcher({"type": "object"})
    assert accepts(matcher, '{"a": 1, "b": [1, {"c": 2}]}')
    for text in (
        '{"a":1}',
        '{"a":  1}',
        '{ "a": 1}',
        '{"a": 1 }',
        '{"a": 1,"b": 1}',
        ' {"a": 1}',
        '{"a": 1}\n',
    ):
        assert not accepts(matcher, text)
