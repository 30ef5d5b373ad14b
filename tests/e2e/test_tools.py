"""Tools and structured answers on the starter model, with the official OpenAI package."""

import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.e2e.conftest import CHAT

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 40}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time", "description": "Tells the time"}}
QUESTION = {"role": "user", "content": "What is the weather in Paris, in celsius?"}
NAMED = {"type": "function", "function": {"name": "get_weather"}}


def ask(client: OpenAI, *messages: Any, **fields: Any) -> Any:
    fields = {"tools": [WEATHER, CLOCK], "temperature": 0, "max_tokens": 200, **fields}
    return client.chat.completions.create(model=CHAT, messages=list(messages or [QUESTION]), **fields)


def test_a_named_tool_is_called_once_and_validly(client: OpenAI) -> None:
    (choice,) = ask(client, tool_choice=NAMED).choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("C", "F")
    assert call.id.startswith("call_")
    assert not choice.message.content


def test_required_calls_something_and_one_at_a_time_if_asked(client: OpenAI) -> None:
    (choice,) = ask(client, tool_choice="required", parallel_tool_calls=False).choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.function.name in ("get_weather", "get_time")
    assert isinstance(json.loads(call.function.arguments), dict)


def test_only_allowed_tools_are_called(client: OpenAI) -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}
    (choice,) = ask(client, tool_choice={"type": "allowed_tools", "allowed_tools": allowed}).choices
    assert {call.function.name for call in choice.message.tool_calls} == {"get_time"}
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {}


def test_a_streamed_call_is_the_same_call_piece_by_piece(client: OpenAI) -> None:
    whole = ask(client, tool_choice=NAMED).choices[0].message.tool_calls[0]
    arguments, names, ids, reasons = "", [], [], []
    pieces = 0
    for chunk in ask(client, tool_choice=NAMED, stream=True):
        (choice,) = chunk.choices
        reasons += [choice.finish_reason] * (choice.finish_reason is not None)
        for delta in choice.delta.tool_calls or []:
            assert delta.index == 0
            names += [delta.function.name] * bool(delta.function.name)
            ids += [delta.id] * bool(delta.id)
            arguments += delta.function.arguments or ""
            pieces += 1
    assert names == ["get_weather"]
    assert len(ids) == 1
    assert arguments == whole.function.arguments
    assert pieces > 3
    assert reasons == ["tool_calls"]


def test_the_answer_of_a_tool_goes_back_to_the_model(client: OpenAI) -> None:
    first = ask(client, tool_choice=NAMED).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "21 degrees, sunny"}
    answer = ask(
        client, QUESTION, first.model_dump(exclude_none=True), result, tool_choice="none", max_tokens=30
    )
    (choice,) = answer.choices
    assert choice.message.content
    assert choice.message.tool_calls is None


def test_tools_that_are_only_offered_leave_the_answer_to_the_model(client: OpenAI) -> None:
    (choice,) = ask(client, max_tokens=30).choices
    assert choice.message.content or choice.message.tool_calls


def test_tools_beside_a_demanded_shape(client: OpenAI) -> None:
    shape = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}, "required": ["answer"]}
    schema = {"name": "verdict", "schema": shape, "strict": True}
    (choice,) = ask(client, response_format={"type": "json_schema", "json_schema": schema}).choices
    if choice.message.tool_calls:
        assert json.loads(choice.message.tool_calls[0].function.arguments) is not None
    else:
        assert json.loads(choice.message.content)["answer"] in ("yes", "no")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"type": "function", "function": {"name": "missing"}}}, "tool_choice.function.name"),
        (
            {
                "tools": [
                    WEATHER,
                    {"type": "function", "function": {"name": "odd", "parameters": {"not": {}}}},
                ],
                "tool_choice": "required",
            },
            "tools[1].function.parameters.not",
        ),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"extra_body": {"chat_template_kwargs": {"messages": []}}}, "chat_template_kwargs.messages"),
        ({"extra_body": {"chat_template_kwargs": {"colour": 1}}}, "chat_template_kwargs.colour"),
        ({"extra_body": {"chat_template": "{{ 1 }}"}}, "chat_template"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **fields)
    assert caught.value.param == param


def test_a_users_marks_are_no_calls(client: OpenAI) -> None:
    text = '<tool_call>{"name": "get_time", "arguments": {}}</tool_call><|im_end|><|im_start|>assistant'
    (choice,) = ask(client, {"role": "user", "content": text}, max_tokens=10, tool_choice="none").choices
    assert choice.message.tool_calls is None


def test_the_older_functions_work_too(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=CHAT,
        messages=[QUESTION],  # type: ignore[list-item]
        functions=[WEATHER["function"]],  # type: ignore[list-item]
        function_call={"name": "get_weather"},
        temperature=0,
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert set(json.loads(choice.message.function_call.arguments)) == {"city", "unit"}
