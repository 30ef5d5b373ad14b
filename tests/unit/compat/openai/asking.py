"""Requests as tests write them, and a model that can do everything."""

import json
from typing import Any

import pytest

from backends.protocol import Chat, Description, GenerateParameters
from compat.errors import InvalidRequest
from compat.openai.chat import ChatCompletionRequest, chat_parameters, conversation_of, decode_chat

EVERYTHING = Description(
    tasks=["generate"],
    parameters=[
        "max_tokens", "temperature", "top_p", "top_k", "min_p", "typical_p", "frequency_penalty",
        "presence_penalty", "repeat_penalty", "repeat_last_n", "seed", "stop", "logit_bias", "ignore_eos",
        "n", "best_of", "logprobs", "top_logprobs", "echo", "suffix", "tools", "response_format", "regex",
        "grammar", "reasoning_effort", "chat_template_kwargs", "reproducible", "lora",
    ],
    vocabulary_size=100,
    limits={"n": 8, "best_of": 6, "top_logprobs": 10, "logprobs": 4},
    adapters=["formal", "rude"],
)  # fmt: skip
NOTHING = Description(tasks=["generate"], parameters=[])


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]} | fields).encode()


def read_chat(data: bytes) -> tuple[ChatCompletionRequest, Chat]:
    request = decode_chat(data)
    return request, conversation_of(request)


def parameters(description: Description = EVERYTHING, **fields: Any) -> GenerateParameters:
    """The parameters of a chat job."""
    request, _ = read_chat(body(**fields))
    return chat_parameters(request, description)


def chat(**fields: Any) -> Chat:
    """The item of a chat job."""
    return read_chat(body(**fields))[1]


def refusal(fields: dict[str, Any], description: Description = EVERYTHING) -> InvalidRequest:
    """How a chat request with these fields is refused."""
    with pytest.raises(InvalidRequest) as caught:
        parameters(description, **fields)
    return caught.value
