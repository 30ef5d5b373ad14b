"""Chat requests as jobs."""

from typing import Any

import pytest

from backends.protocol import GenerateParameters
from compat.openai.chat import chat_form
from compat.openai.chat_answers import ChatForm
from tests.unit.compat.openai.asking import EVERYTHING, NOTHING, body, chat, parameters, read_chat, refusal


def test_every_parameter_reaches_the_job() -> None:
    given: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "typical_p": 0.8,
        "frequency_penalty": 1.0, "presence_penalty": -1.0, "repeat_penalty": 1.1, "repeat_last_n": 64,
        "seed": -5, "ignore_eos": True, "n": 3, "reproducible": True,
    }  # fmt: skip
    job = parameters(**given, stop=["a", "b"], logit_bias={"5": -100, "99": 1.5}, max_tokens=7)
    for name, value in given.items():
        assert getattr(job, name) == value
    assert (job.stop, job.logit_bias, job.max_tokens) == (["a", "b"], {5: -100.0, 99: 1.5}, 7)


def test_what_is_left_out_stays_the_models_choice() -> None:
    assert parameters() == GenerateParameters()
    assert parameters(temperature=None, stop=None, logit_bias=None, max_tokens=None) == GenerateParameters()


def test_max_completion_tokens_wins() -> None:
    assert parameters(max_completion_tokens=5).max_tokens == 5
    assert parameters(max_completion_tokens=5, max_tokens=5).max_tokens == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0), ("top_p", 0.5), ("seed", 1), ("stop", "x"), ("max_tokens", 1),
        ("ignore_eos", True), ("logit_bias", {"1": 1}), ("frequency_penalty", 0.1), ("repeat_last_n", 0),
        ("n", 2), ("logprobs", True), ("reasoning_effort", "low"), ("chat_template_kwargs", {"a": 1}),
        ("reproducible", True), ("lora", [{"id": 0}]), ("regex", "a"), ("grammar", "a"),
    ],
)  # fmt: skip
def test_what_the_model_does_not_honour_is_refused_by_name(name: str, value: Any) -> None:
    error = refusal({name: value}, NOTHING)
    assert (error.param, error.code) == (name, "unsupported_parameter")
    parameters(EVERYTHING, **{name: value})


def test_values_that_change_nothing_need_no_support() -> None:
    neutral = {
        "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "ignore_eos": False, "stop": [], "n": 1,
        "logprobs": False, "top_logprobs": 0, "reasoning_effort": "none", "chat_template_kwargs": {},
        "reproducible": False, "lora": [],
    }  # fmt: skip
    assert parameters(NOTHING, **neutral) == GenerateParameters()


@pytest.mark.parametrize(
    ("fields", "logprobs"),
    [({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 10}, 10), ({"logprobs": False}, None)],
)
def test_logprobs(fields: dict[str, Any], logprobs: int | None) -> None:
    assert parameters(**fields).logprobs == logprobs


def test_adapters_by_place_and_by_name() -> None:
    asked = [{"id": 0}, {"name": "rude", "scale": -0.5}]
    assert parameters(lora=asked).adapters == {"formal": 1.0, "rude": -0.5}
    assert parameters(lora=[{"id": 1, "scale": 0}]).adapters == {}


def test_what_is_for_the_template_reaches_it() -> None:
    asked = chat(reasoning_effort="high", chat_template_kwargs={"enable_thinking": False})
    assert asked.reasoning_effort == "high"
    assert asked.template_arguments == '{"enable_thinking": false}'


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({}, ChatForm()),
        ({"n": 3, "logprobs": True, "tools": []}, ChatForm(3, logprobs=True)),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, ChatForm(calls="tool_calls")),
        ({"functions": [{"name": "f"}]}, ChatForm(calls="function_call")),
    ],
)
def test_the_form_of_the_answer(fields: dict[str, Any], form: ChatForm) -> None:
    assert chat_form(read_chat(body(**fields))[0]) == form


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 9}, "n"),
        ({"n": 129}, "n"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 11}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template_kwargs.chat_template"),
        ({"chat_template": "x"}, "chat_template"),
        ({"lora": {"id": 0}}, "lora"),
        ({"lora": [{"id": 2}]}, "lora[0].id"),
        ({"lora": [{"id": -1}]}, "lora[0].id"),
        ({"lora": [{"name": "kind"}]}, "lora[0].name"),
        ({"lora": [{}]}, "lora[0]"),
        ({"lora": [{"id": 0, "name": "formal"}]}, "lora[0]"),
        ({"lora": [{"id": 0}, {"name": "formal"}]}, "lora[1]"),
        ({"lora": [{"id": 0, "scale": 1000}]}, "lora[0].scale"),
        ({"lora": [{"id": 0, "path": "x"}]}, "lora[0].path"),
        ({"reproducible": "yes"}, "reproducible"),
        ({"best_of": 2}, "best_of"),
    ],
)
def test_values_that_cannot_be_are_refused_by_their_path(fields: dict[str, Any], param: str) -> None:
    assert refusal(fields).param == param
