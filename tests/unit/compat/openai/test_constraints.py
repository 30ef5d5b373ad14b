"""What an answer must match, said in every way."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.protocol import Constraint
from tests.unit.compat.openai.asking import NOTHING, parameters, refusal

SCHEMA = {"type": "object", "properties": {"z": {}, "a": {}}}
SCHEMA_TEXT = '{"type": "object", "properties": {"z": {}, "a": {}}}'


def json_schema(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA} | fields}


@pytest.mark.parametrize(
    ("fields", "expected", "name"),
    [
        ({"response_format": {"type": "text"}}, None, ""),
        ({"response_format": None, "structured_outputs": None, "regex": None}, None, ""),
        (
            {"response_format": {"type": "json_object"}},
            Constraint("json_object", param="response_format"),
            "response_format",
        ),
        (
            {"response_format": json_schema(strict=True, description="d")},
            Constraint("json_schema", SCHEMA_TEXT, "response_format.json_schema.schema"),
            "response_format",
        ),
        ({"regex": "a+"}, Constraint("regex", "a+", "regex"), "regex"),
        ({"grammar": 'root ::= "a"'}, Constraint("gbnf", 'root ::= "a"', "grammar"), "grammar"),
        (
            {"structured_outputs": {"json": SCHEMA}},
            Constraint("json_schema", SCHEMA_TEXT, "structured_outputs.json"),
            "response_format",
        ),
        (
            {"structured_outputs": {"json": SCHEMA_TEXT}},
            Constraint("json_schema", SCHEMA_TEXT, "structured_outputs.json"),
            "response_format",
        ),
        (
            {"structured_outputs": {"json_object": True, "regex": None}},
            Constraint("json_object", param="structured_outputs.json_object"),
            "response_format",
        ),
        (
            {"structured_outputs": {"regex": "b"}},
            Constraint("regex", "b", "structured_outputs.regex"),
            "regex",
        ),
        (
            {"structured_outputs": {"grammar": "root ::= [a]"}},
            Constraint("gbnf", "root ::= [a]", "structured_outputs.grammar"),
            "grammar",
        ),
        (
            {"structured_outputs": {"choice": ["yes", "no."]}},
            Constraint("regex", r"yes|no\.", "structured_outputs.choice"),
            "regex",
        ),
    ],
)
def test_every_way_to_say_it(fields: dict[str, Any], expected: Constraint | None, name: str) -> None:
    assert parameters(**fields).constraint == expected
    if expected is None:
        assert parameters(NOTHING, **fields).constraint is None
        return
    error = refusal(fields, NOTHING)
    assert (error.param, error.code) == (expected.param, "unsupported_parameter")


CHOICES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(st.lists(CHOICES, min_size=1, max_size=5))
def test_a_choice_matches_itself_and_nothing_else(choices: list[str]) -> None:
    constraint = parameters(structured_outputs={"choice": choices}).constraint
    assert constraint is not None
    pattern = re.compile(constraint.source)
    assert all(pattern.fullmatch(choice) for choice in choices)
    assert not pattern.fullmatch("".join(choices) + "x" + choices[0])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": json_schema(schema=[])}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(schema=None)}, "response_format.json_schema.schema"),
        (
            {"response_format": json_schema(schema={"title": "x" * 65536})},
            "response_format.json_schema.schema",
        ),
        ({"response_format": json_schema(name="a b")}, "response_format.json_schema.name"),
        ({"response_format": json_schema(strict="yes")}, "response_format.json_schema.strict"),
        ({"response_format": json_schema(kind=1)}, "response_format.json_schema.kind"),
        ({"regex": ""}, "regex"),
        ({"regex": 1}, "regex"),
        ({"regex": "ä" * 40000}, "regex"),
        ({"grammar": "x" * 65537}, "grammar"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"json_object": False}}, "structured_outputs"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": "[]"}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": '{"title": "\\u0000"}'}}, "structured_outputs.json"),
        ({"structured_outputs": {"json": '{"a":' * 100_000}}, "structured_outputs.json"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"choice": ["a", ""]}}, "structured_outputs.choice[1]"),
        ({"structured_outputs": {"choice": ["a"] * 1025}}, "structured_outputs.choice"),
        ({"structured_outputs": {"regex": ""}}, "structured_outputs.regex"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs.choice"),
        ({"response_format": {"type": "json_object"}, "regex": "a"}, "regex"),
        ({"regex": "a", "grammar": "b"}, "grammar"),
        ({"grammar": "b", "structured_outputs": {"regex": "a"}}, "structured_outputs.regex"),
    ],
)
def test_what_binds_nothing_or_twice_is_refused(fields: dict[str, Any], param: str) -> None:
    error = refusal(fields)
    assert error.param == param
    assert len(error.message) < 300
