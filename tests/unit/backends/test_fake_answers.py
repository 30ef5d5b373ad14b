"""The fake model says what its prompt's directives tell it to."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import JobError
from backends.fake_answers import FakeItem, length, pieces, plan, prompt_logprobs, words
from backends.protocol import (
    Chat,
    ChatMessage,
    Constraint,
    GenerateParameters,
    Infill,
    Text,
    Tokens,
    Tool,
    ToolCall,
)

TOOLS = [Tool("f", parameters='{"type": "object"}'), Tool("g")]
CALLS = '@call:f {"x": 1}\n@call:g\n@call:unknown'


def chat(text: str, **fields: Any) -> FakeItem:
    messages = [ChatMessage("user", "@say before"), ChatMessage("user", text)]
    return plan(Chat(messages, **fields), GenerateParameters())


def said(item: FakeItem, answer: int = 0, tokens: int = 3, **adapters: float) -> list[Any]:
    given = pieces(item, answer, adapters, iter("ABC"))
    found = [next(given) for _ in range(length(item, tokens))]
    return [piece.text or piece.reasoning or piece.call for piece in found]


@given(st.text())
def test_words_are_the_text(text: str) -> None:
    assert "".join(words(text)) == text
    assert len(prompt_logprobs(text, 0)) == (len(text.split()) or 1)


def test_the_last_message_is_what_counts() -> None:
    assert said(chat("hi")) == ["w0 ", "w1 ", "w2 "]
    assert said(chat("hi"), answer=2) == ["w0/2 ", "w1/2 ", "w2/2 "]
    assert said(chat("a\n@say b c\nd")) == ["b", " c"]
    assert said(chat("hi"), shout=1.0)[0] == "W0 "
    assert said(chat("@think:2"), tokens=1) == ["r0 ", "r1 ", "w0 "]


def test_a_tool_is_called_where_the_request_allows_it() -> None:
    both = [ToolCall("", "f", '{"x": 1}'), ToolCall("", "g", "{}")]
    assert chat(CALLS, tools=TOOLS).calls == both
    assert chat(CALLS, tools=TOOLS, parallel_tool_calls=False).calls == both[:1]
    assert chat(CALLS, tools=TOOLS, allowed_tools=["g"]).calls == both[1:]
    assert chat(CALLS, tools=TOOLS, tool_choice="none").calls == chat(CALLS).calls == []
    assert chat("hi", tools=TOOLS, tool_choice="required").calls == [ToolCall("", "f", "{}")]
    first, arguments, more, second, none = said(chat(CALLS, tools=TOOLS))
    assert (first.id, first.name, first.index, second.id, second.index) == ("A", "f", 0, "B", 1)
    assert arguments.arguments + more.arguments == '{"x": 1}'
    assert none.arguments == "{}"


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, 0),
        ({"reasoning_effort": "low"}, 2),
        ({"reasoning_effort": "low", "template_arguments": '{"enable_thinking": false}'}, 0),
        ({"template_arguments": '{"enable_thinking": true}'}, 0),
    ],
)
def test_effort_decides_how_long_it_thinks(fields: dict[str, Any], tokens: int) -> None:
    assert chat("hi", **fields).think == tokens


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]},
            {"a": "w0"},
        ),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"enum": ["e", "f"]}}}, "e"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": "array", "items": {"const": 7}, "minItems": 2}, [7, 7]),
        ({"type": ["integer", "null"]}, 0),
    ],
)
def test_a_schema_is_answered_with_what_fits(schema: dict[str, Any], value: Any) -> None:
    constraint = Constraint("json_schema", json.dumps(schema), "here")
    item = plan(Text("hi"), GenerateParameters(constraint=constraint))
    assert json.loads("".join(item.said or [])) == value


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("regex", "b+", "here"),
        Constraint("regex", "(", "here"),
        Constraint("gbnf", 'root ::= "a"', "here"),
        Constraint("json_schema", '{"$ref": "#"}', "here"),
        Constraint("json_schema", '{"type": "array", "minItems": 1}', "here"),
    ],
)
def test_a_bound_that_it_cannot_keep_is_refused(constraint: Constraint) -> None:
    with pytest.raises(JobError) as caught:
        plan(Text("@say a"), GenerateParameters(constraint=constraint))
    assert caught.value.param == "here"


def test_items_of_every_kind() -> None:
    parameters = GenerateParameters()
    assert plan(Tokens([1, 2]), parameters) == FakeItem("1 2", 2)
    assert plan(Infill("a", "@say b"), parameters).said == ["b"]
    assert plan(Text(""), parameters).tokens == 1
