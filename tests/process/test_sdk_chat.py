"""Chat as the official OpenAI package speaks it, to a gateway process over the fake engine."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.gateway_process import GatewayProcess, wait_for

MODEL = "fake"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}
ASK_WEATHER = '@call:get_weather {"city": "Zürich", "days": 3}'
ASK_BOTH = f"{ASK_WEATHER}\n@call:get_time"


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    model = {"name": MODEL, "backend": "fake", "tasks": ["generate"], "source": ".", "preload": True}
    config = {"models": [model | {"parameters": {"tokens": 4}}]}
    with GatewayProcess.serving(config, tmp_path_factory.mktemp("gateway")) as process:
        yield process.wait_until_ready()


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


# --- tools --------------------------------------------------------------------------------------------


def test_a_tool_is_called_and_its_answer_heard(client: OpenAI) -> None:
    messages = user(ASK_BOTH)
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER, TIME])
    (choice,) = first.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    weather, time = choice.message.tool_calls
    assert weather.type == time.type == "function"
    assert (weather.function.name, time.function.name) == ("get_weather", "get_time")
    assert json.loads(weather.function.arguments) == {"city": "Zürich", "days": 3}
    assert weather.id != time.id
    messages += [
        choice.message,
        {"role": "tool", "tool_call_id": weather.id, "content": "rain"},
        {"role": "tool", "tool_call_id": time.id, "content": "@say Rain at noon."},
    ]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER, TIME])
    assert second.choices[0].message.content == "Rain at noon."
    assert second.choices[0].finish_reason == "stop"


def test_streamed_calls_add_up(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=user(f"@think:2\n{ASK_BOTH}"), tools=[WEATHER, TIME]
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.index, event.name, event.arguments) for event in done] == [
        (0, "get_weather", '{"city": "Zürich", "days": 3}'),
        (1, "get_time", "{}"),
    ]
    assert done[0].parsed_arguments == {"city": "Zürich", "days": 3}
    pieces = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert len(pieces) > 4
    (choice,) = final.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.model_extra == {"reasoning_content": "r0 r1 ", "reasoning": "r0 r1 "}
    assert len({call.id for call in choice.message.tool_calls or []}) == 2


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", []),
        ("auto", ["get_weather", "get_time"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "get_weather"}}],
                },
            },
            ["get_weather"],
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_choice_of_tools_is_followed(
    async_client: AsyncOpenAI, choice: Any, called: list[str], stream: bool
) -> None:
    asked: Any = {
        "model": MODEL,
        "messages": user(ASK_BOTH),
        "tools": [WEATHER, TIME],
        "tool_choice": choice,
    }
    if stream:
        async with async_client.chat.completions.stream(**asked) as running:
            answer = await running.get_final_completion()
    else:
        answer = await async_client.chat.completions.create(**asked)
    message = answer.choices[0].message
    calls = [call.function.name for call in message.tool_calls or [] if call.type == "function"]
    assert calls == called
    assert (message.content is None) == bool(called)


def test_required_calls_without_being_told_and_parallel_calls_can_be_forbidden(client: OpenAI) -> None:
    required = client.chat.completions.create(
        model=MODEL, messages=user("hi"), tools=[WEATHER], tool_choice="required"
    )
    (call,) = required.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "w0", "days": 0}
    alone = client.chat.completions.create(
        model=MODEL, messages=user(ASK_BOTH), tools=[WEATHER, TIME], parallel_tool_calls=False
    )
    assert len(alone.choices[0].message.tool_calls or []) == 1


def test_the_older_functions(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "functions": [WEATHER["function"], TIME["function"]]}
    messages = user(ASK_BOTH)
    (choice,) = client.chat.completions.create(**asked, messages=messages).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.tool_calls is None
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "get_weather"
    messages += [
        choice.message.model_dump(include={"role", "content", "function_call"}),
        {"role": "function", "name": "get_weather", "content": "@say Rain."},
    ]
    again = client.chat.completions.create(**asked, messages=messages)
    assert again.choices[0].message.content == "Rain."
    forced = client.chat.completions.create(
        **asked, messages=user("hi"), function_call={"name": "get_time"}, stream=True
    )
    chunks = list(forced)
    calls = [chunk.choices[0].delta.function_call for chunk in chunks]
    said = [call for call in calls if call is not None]
    assert [call.name for call in said if call.name] == ["get_time"]
    assert "".join(call.arguments or "" for call in said) == "{}"
    assert chunks[-1].choices[0].finish_reason == "function_call"


class GetWeather(BaseModel):
    city: str
    days: int


def test_tools_from_pydantic_models_are_parsed(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=user('@call:GetWeather {"city": "Bern", "days": 1}'),
        tools=[openai.pydantic_function_tool(GetWeather)],
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == GetWeather(city="Bern", days=1)


# --- structured output --------------------------------------------------------------------------------


class Step(BaseModel):
    text: str
    kind: Literal["guess", "proof"]


class Solution(BaseModel):
    steps: list[Step]
    first: Step
    score: float
    note: str | None


SOLVED = Solution(steps=[], first=Step(text="w0", kind="guess"), score=0.5, note="w0")


def test_a_pydantic_model_is_the_format(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model=MODEL, messages=user("hi"), response_format=Solution)
    assert answer.choices[0].message.parsed == SOLVED
    with client.chat.completions.stream(model=MODEL, messages=user("hi"), response_format=Solution) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == SOLVED


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"response_format": {"type": "json_object"}}, "{}"),
        ({"extra_body": {"regex": "no+"}}, "noo"),
        ({"extra_body": {"structured_outputs": {"choice": ["yes", "noo"]}}}, "noo"),
        ({"extra_body": {"structured_outputs": {"json": {"type": "integer"}}}}, "0"),
    ],
)
def test_other_bounds_reach_the_model(client: OpenAI, fields: dict[str, Any], text: str) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("@say noo"), **fields)
    assert answer.choices[0].message.content == text


# --- several answers, log-probabilities, usage --------------------------------------------------------


def test_several_streamed_answers_are_told_apart(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=user("a b c"), n=3, stream_options={"include_usage": True}
    ) as stream:
        indices = [
            event.chunk.choices[0].index for event in stream if event.type == "chunk" and event.chunk.choices
        ]
        final = stream.get_final_completion()
    assert indices[:6] == [0, 1, 2, 0, 1, 2]
    assert [choice.message.content for choice in final.choices] == [
        "w0 w1 w2 w3 ",
        "w0/1 w1/1 w2/1 w3/1 ",
        "w0/2 w1/2 w2/2 w3/2 ",
    ]
    assert [choice.finish_reason for choice in final.choices] == ["stop"] * 3
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (3, 12)


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_of_every_token(client: OpenAI, stream: bool) -> None:
    asked: Any = {
        "model": MODEL,
        "messages": user("hi"),
        "logprobs": True,
        "top_logprobs": 3,
    }
    if stream:
        with client.chat.completions.stream(**asked) as running:
            (choice,) = running.get_final_completion().choices
    else:
        (choice,) = client.chat.completions.create(**asked).choices
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert "".join(token.token for token in choice.logprobs.content) == choice.message.content
    assert [token.logprob for token in choice.logprobs.content] == [-1.0] * 4
    assert [[top.token for top in token.top_logprobs] for token in choice.logprobs.content][1] == [
        "w1 ",
        "o1",
        "o2",
    ]


def test_where_tokens_went_is_told(client: OpenAI, gateway: GatewayProcess) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=user("@cached:2 @drafts:3 x y"),
        reasoning_effort="low",
        extra_body={"lora": [{"name": "shout"}], "reproducible": True},
    )
    message = answer.choices[0].message
    assert message.content == "W0 W1 W2 W3 "
    assert message.model_extra == {"reasoning_content": "r0 r1 ", "reasoning": "r0 r1 "}
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (4, 6)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 2
    assert usage.completion_tokens_details.accepted_prediction_tokens == 3
    assert gateway.metric("prefix_cache_hits_total", model=MODEL) == 2
    assert gateway.metric("prefix_cache_queries_total", model=MODEL) >= 4
    assert gateway.metric("spec_decode_num_draft_tokens_total", model=MODEL) == 6
    assert gateway.metric("spec_decode_num_accepted_tokens_total", model=MODEL) == 3


def test_reasoning_can_be_turned_off_by_the_templates_variable(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=user("@think:3"),
        extra_body={"chat_template_kwargs": {"enable_thinking": False}},
    )
    assert answer.choices[0].message.model_extra == {}


# --- completions --------------------------------------------------------------------------------------


def test_the_best_completions_are_chosen(client: OpenAI, gateway: GatewayProcess) -> None:
    def prompt_tokens() -> float:
        return gateway.metric("prompt_tokens_total", model=MODEL)

    before = prompt_tokens()
    answer = client.completions.create(model=MODEL, prompt=["a b", "c"], n=2, best_of=4)
    assert [(choice.index, choice.text.split()[0]) for choice in answer.choices] == [
        (0, "w0/3"),
        (1, "w0/2"),
        (2, "w0/3"),
        (3, "w0/2"),
    ]
    assert all(choice.logprobs is None for choice in answer.choices)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 32)
    wait_for(lambda: prompt_tokens() == before + 3, 2)


@pytest.mark.parametrize("stream", [False, True])
def test_an_echoed_prompt_and_its_logprobs(client: OpenAI, stream: bool) -> None:
    asked: Any = {
        "model": MODEL,
        "prompt": "once upon a",
        "echo": True,
        "logprobs": 2,
        "max_tokens": 2,
    }
    answers = (
        client.completions.create(**asked, stream=True) if stream else [client.completions.create(**asked)]
    )
    text, tokens, values, offsets, tops = "", [], [], [], []
    for answer in answers:
        (choice,) = answer.choices
        text += choice.text
        if choice.logprobs is not None:
            tokens += choice.logprobs.tokens or []
            values += choice.logprobs.token_logprobs or []
            offsets += choice.logprobs.text_offset or []
            tops += choice.logprobs.top_logprobs or []
    assert text == "once upon aw0 w1 "
    assert tokens == ["once", " upon", " a", "w0 ", "w1 "]
    assert values == [None, -1.0, -1.0, -1.0, -1.0]
    assert offsets == [0, 4, 9, 11, 14]
    assert tops[0] is None
    assert tops[4] == {"w1 ": -1.0, "o1": -2.0}


def test_text_between_two_texts(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt="def f():", suffix="@say return 1")
    assert answer.choices[0].text == "return 1"


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 17}, "n"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"extra_body": {"grammar": 'root ::= "a"'}}, "grammar"),
        ({"extra_body": {"regex": "x"}}, "regex"),
        ({"extra_body": {"lora": [{"name": "whisper"}]}}, "lora[0].name"),
        ({"top_logprobs": 2}, "top_logprobs"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]},
            "messages[0].tool_call_id",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_names_the_parameter(
    client: OpenAI, fields: dict[str, Any], param: str, stream: bool
) -> None:
    asked: Any = {"model": MODEL, "messages": user("hi"), "stream": stream} | fields
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**asked)
    assert caught.value.param == param
