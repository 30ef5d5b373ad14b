"""Tools and the choice among them."""

from typing import Any

import pytest

from backends.protocol import Tool
from tests.unit.compat.openai.asking import NOTHING, chat, parameters, refusal

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}},
        "strict": True,
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}
FUNCTIONS = [WEATHER["function"], TIME["function"]]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {
        "type": "allowed_tools",
        "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]},
    }


def test_tools_reach_the_job_with_their_schemas_as_written() -> None:
    asked = chat(tools=[WEATHER, TIME])
    schema = '{"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}'
    assert asked.tools == [
        Tool("get_weather", "Weather of a city", schema, strict=True),
        Tool("get_time"),
    ]
    assert (asked.tool_choice, asked.allowed_tools, asked.parallel_tool_calls) == ("auto", [], True)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", ("none", [])),
        ("auto", ("auto", [])),
        (None, ("auto", [])),
        ("required", ("required", [])),
        (named("get_time"), ("required", ["get_time"])),
        (allowed("auto", "get_time"), ("auto", ["get_time"])),
        (
            allowed("required", "get_weather", "get_time", "get_time"),
            ("required", ["get_weather", "get_time"]),
        ),
    ],
)
def test_every_choice(choice: Any, expected: tuple[str, list[str]]) -> None:
    asked = chat(tools=[WEATHER, TIME], tool_choice=choice)
    assert (asked.tool_choice, asked.allowed_tools) == expected


def test_parallel_calls_can_be_turned_off() -> None:
    assert chat(tools=[TIME], parallel_tool_calls=True).parallel_tool_calls
    assert not chat(tools=[TIME], parallel_tool_calls=False).parallel_tool_calls


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ("auto", [])),
        ("none", ("none", [])),
        ("auto", ("auto", [])),
        ({"name": "get_time"}, ("required", ["get_time"])),
    ],
)
def test_the_older_functions_are_tools_of_which_one_is_called(
    choice: Any, expected: tuple[str, list[str]]
) -> None:
    asked = chat(functions=FUNCTIONS, function_call=choice)
    assert [tool.name for tool in asked.tools] == ["get_weather", "get_time"]
    assert (asked.tool_choice, asked.allowed_tools) == expected
    assert not asked.parallel_tool_calls


@pytest.mark.parametrize("fields", [{"tools": [TIME]}, {"functions": FUNCTIONS}])
def test_a_model_without_tools_refuses_them(fields: dict[str, Any]) -> None:
    assert refusal(fields, NOTHING).param == next(iter(fields))
    parameters(**fields)


def test_nothing_to_call_needs_no_support() -> None:
    for fields in (
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"tool_choice": "none"},
        {"functions": [], "function_call": "none"},
    ):
        parameters(NOTHING, **fields)


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f"} | fields}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [TIME, {"type": "web_search", "filters": {}}]}, "tools[1].type"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [function(name="")]}, "tools[0].function.name"),
        ({"tools": [function(name="x" * 65)]}, "tools[0].function.name"),
        ({"tools": [function(name="a b")]}, "tools[0].function.name"),
        ({"tools": [function(name="ä")]}, "tools[0].function.name"),
        ({"tools": [function(shape=1)]}, "tools[0].function.shape"),
        ({"tools": [function(parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters="{}")]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters={"title": "x" * 65536})]}, "tools[0].function.parameters"),
        ({"tools": [function(strict="yes")]}, "tools[0].function.strict"),
        ({"tools": [TIME, WEATHER, TIME]}, "tools[2].function.name"),
        ({"tools": [function(name=f"f{index}") for index in range(129)]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [], "tool_choice": named("f")}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": 1}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": named("f")}, "tool_choice.function.name"),
        ({"tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        (
            {"tools": [TIME], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
            "tool_choice.type",
        ),
        ({"tools": [TIME], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tools": [TIME], "tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools"),
        (
            {"tools": [TIME], "tool_choice": allowed("none", "get_time")},
            "tool_choice.allowed_tools.mode",
        ),
        (
            {"tools": [TIME], "tool_choice": allowed("auto", "get_time", "f")},
            "tool_choice.allowed_tools.tools[1].function.name",
        ),
        ({"tools": [TIME], "functions": FUNCTIONS}, "functions"),
        ({"tools": [TIME], "function_call": "auto"}, "function_call"),
        ({"functions": FUNCTIONS, "tool_choice": "auto"}, "tool_choice"),
        ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions[1].name"),
        ({"functions": [{"name": "f", "parameters": 1}]}, "functions[0].parameters"),
        ({"functions": [{"name": "f"}] * 129}, "functions"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call.name"),
        ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call"),
        ({"function_call": {"name": "g"}}, "function_call"),
    ],
)
def test_what_cannot_be_called_is_refused_by_its_path(fields: dict[str, Any], param: str) -> None:
    error = refusal(fields)
    assert error.param == param
    assert len(error.message) < 300
