"""Chat requests as jobs."""

import json
from typing import Any

import pytest

from backends.protocol import Chat, ChatMessage, Description, GenerateParameters
from compat.errors import InvalidRequest
from compat.openai.chat import chat_parameters, conversation, decode_chat

EVERYTHING = Description(
    tasks=["generate"],
    parameters=[
        "max_tokens", "temperature", "top_p", "top_k", "min_p", "typical_p", "frequency_penalty",
        "presence_penalty", "repeat_penalty", "repeat_last_n", "seed", "stop", "logit_bias", "ignore_eos",
    ],
    vocabulary_size=100,
)  # fmt: skip
NOTHING = Description(tasks=["generate"], parameters=[])


def parameters(description: Description = EVERYTHING, **fields: Any) -> GenerateParameters:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]} | fields
    return chat_parameters(decode_chat(json.dumps(body).encode()), description)


def chat(*messages: dict[str, Any]) -> list[tuple[str, str]]:
    body = json.dumps({"model": "m", "messages": list(messages)}).encode()
    return [(one.role, one.content) for one in conversation(decode_chat(body).messages).messages]


def test_every_parameter_reaches_the_job() -> None:
    given: dict[str, Any] = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "typical_p": 0.8,
        "frequency_penalty": 1.0, "presence_penalty": -1.0, "repeat_penalty": 1.1, "repeat_last_n": 64,
        "seed": -5, "ignore_eos": True,
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
    ],
)  # fmt: skip
def test_what_the_model_does_not_honour_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parameters(NOTHING, **{name: value})
    assert caught.value.param == name
    assert caught.value.code == "unsupported_parameter"


def test_values_that_change_nothing_need_no_support() -> None:
    neutral = {"top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "ignore_eos": False, "stop": []}
    assert parameters(NOTHING, **neutral) == GenerateParameters()


def test_leading_instructions_become_one_system_message() -> None:
    assert chat(
        {"role": "developer", "content": "a"},
        {"role": "system", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": "q"},
        {"role": "system", "content": "later"},
    ) == [("system", "a\n\nb"), ("user", "q"), ("system", "later")]


def test_content_of_every_kind_is_read() -> None:
    assert chat(
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "name": "bob",
        },
        {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None, "annotations": []},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
    ) == [("user", "a\nb"), ("assistant", "no"), ("assistant", ""), ("user", "")]


def test_a_name_is_kept() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"x","name":"bob"}]}'
    assert conversation(decode_chat(body).messages) == Chat([ChatMessage("user", "x", "bob")])
