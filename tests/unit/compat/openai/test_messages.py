"""Messages of every role as turns of a conversation."""

from typing import Any

import pytest

from backends.protocol import ChatMessage, ToolCall
from tests.unit.compat.openai.asking import NOTHING, chat, parameters, refusal


def turns(*messages: dict[str, Any]) -> list[ChatMessage]:
    return chat(messages=list(messages)).messages


def call(identity: str, name: str = "f", arguments: str = '{"x": 1}') -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)} | fields


def answering(identity: str, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": content}


USER = {"role": "user", "content": "q"}


def test_leading_instructions_become_one_system_message() -> None:
    assert turns(
        {"role": "developer", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "b"}]},
        USER,
        {"role": "system", "content": "later"},
    ) == [ChatMessage("system", "a\n\nb"), ChatMessage("user", "q"), ChatMessage("system", "later")]


def test_content_of_every_kind_is_read() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert turns(
        {"role": "user", "content": parts, "name": "bob"},
        {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None, "annotations": []},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
        {"role": "assistant", "content": "", "function_call": None, "audio": None},
        {"role": "user", "content": ""},
    ) == [
        ChatMessage("user", "a\nb", "bob"),
        ChatMessage("assistant", "no"),
        ChatMessage("assistant", "never"),
        ChatMessage("assistant", ""),
        ChatMessage("user", ""),
    ]


def test_calls_and_what_answers_them() -> None:
    assert turns(
        USER,
        calling(call("a"), call("b", "g", "not json") | {"index": 1}, content="wait"),
        answering("b", [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]),
        answering("a", ""),
        calling(call("a", "h")),
        answering("a") | {"name": "own"},
    )[1:] == [
        ChatMessage(
            "assistant",
            "wait",
            tool_calls=[ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "not json")],
        ),
        ChatMessage("tool", "x\ny", "g", tool_call_id="b"),
        ChatMessage("tool", "", "f", tool_call_id="a"),
        ChatMessage("assistant", "", tool_calls=[ToolCall("a", "h", '{"x": 1}')]),
        ChatMessage("tool", "done", "own", tool_call_id="a"),
    ]


def test_the_older_calls_get_ids() -> None:
    older = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    first, answer, second, again = turns(
        USER,
        older,
        {"role": "function", "name": "f", "content": "1"},
        older,
        {"role": "function", "name": "f", "content": None},
    )[1:]
    assert first.tool_calls[0].id == answer.tool_call_id != second.tool_calls[0].id == again.tool_call_id
    assert (answer.role, answer.name, answer.content, again.content) == ("tool", "f", "1", "")


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_content": None},
    ],
)
def test_reasoning_of_earlier_turns_is_kept(fields: dict[str, Any]) -> None:
    said = {"role": "assistant", "content": "a"} | fields
    assert turns(USER, said)[1] == ChatMessage("assistant", "a", reasoning="hm")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, answering("a")], "messages[1].tool_call_id"),
        ([answering("a"), calling(call("a"))], "messages[0].tool_call_id"),
        ([calling(call("a")), answering("b")], "messages[1].tool_call_id"),
        ([calling(call("a")), {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
        ([calling(call("a")), answering("a", None)], "messages[1].content"),
        (
            [calling(call("a")), answering("a", [{"type": "image_url", "image_url": {"url": "x"}}])],
            "messages[1].content[0]",
        ),
        ([calling(call("a"), call("a"))], "messages[0].tool_calls[1].id"),
        ([calling({"id": "a", "type": "function"})], "messages[0].tool_calls[0].function"),
        (
            [calling({"id": "a", "type": "custom", "custom": {"name": "x"}})],
            "messages[0].tool_calls[0].type",
        ),
        (
            [calling(call("a") | {"function": {"name": "f", "arguments": {}}})],
            "messages[0].tool_calls[0].function.arguments",
        ),
        ([{"role": "assistant", "content": None, "tool_calls": {}}], "messages[0].tool_calls"),
        ([USER | {"tool_calls": [call("a")]}], "messages[0].tool_calls"),
        ([USER | {"tool_call_id": "a"}], "messages[0].tool_call_id"),
        ([USER | {"reasoning": "a"}], "messages[0].reasoning"),
        ([USER | {"refusal": "a"}], "messages[0].refusal"),
        ([USER | {"content": [{"type": "refusal", "refusal": "a"}]}], "messages[0].content[0]"),
        ([USER, {"role": "function", "name": "f", "content": "x"}], "messages[1].name"),
        ([calling(call("a")), {"role": "function", "name": "f", "content": "x"}], "messages[1].name"),
        ([USER, {"role": "function", "content": "x"}], "messages[1].name"),
        ([calling(call("a"), function_call={"name": "f", "arguments": ""})], "messages[0].function_call"),
        (
            [{"role": "assistant", "content": "a", "reasoning": "b", "reasoning_content": "c"}],
            "messages[0].reasoning",
        ),
        ([{"role": "assistant", "content": [{"type": "refusal"}]}], "messages[0].content[0].refusal"),
        ([{"role": "assistant", "content": "a", "audio": {"id": "1"}}], "messages[0].audio"),
    ],
)
def test_a_turn_that_makes_no_sense_is_refused_by_its_path(
    messages: list[dict[str, Any]], param: str
) -> None:
    assert refusal({"messages": messages}).param == param


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, calling(call("a"))], "messages[1].tool_calls"),
        (
            [USER, {"role": "assistant", "function_call": {"name": "f", "arguments": ""}}],
            "messages[1].function_call",
        ),
        ([calling(call("a")), answering("a")], "messages[0].tool_calls"),
    ],
)
def test_a_model_without_tools_has_no_turns_with_them(messages: list[dict[str, Any]], param: str) -> None:
    error = refusal({"messages": messages}, NOTHING)
    assert (error.param, error.code) == (param, "unsupported_parameter")
    parameters(messages=messages)
