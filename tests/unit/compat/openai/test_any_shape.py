"""Whatever JSON stands in a field: a job or a refusal that names it, never another exception."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from compat.errors import InvalidRequest
from compat.openai.chat import chat_form, chat_parameters
from compat.openai.completions import completion_items, completion_parameters, decode_completion
from tests.unit.compat.openai.asking import EVERYTHING, body, read_chat

# Words that mean something somewhere, so that shapes are often nearly right.
WORDS = st.sampled_from(
    ["type", "function", "name", "parameters", "arguments", "id", "json_schema", "schema", "allowed_tools",
     "mode", "tools", "auto", "required", "role", "content", "tool", "assistant", "user", "tool_calls",
     "tool_call_id", "text", "refusal", "json", "choice", "regex", "scale", "formal", "f", "", "\ud83d", "\0"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers(-2, 200) | st.floats(allow_nan=False) | WORDS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": WORDS},
        optional=dict.fromkeys(
            ("content", "tool_calls", "tool_call_id", "function_call", "name", "reasoning"), VALUES
        ),
    ),
    max_size=3,
)
CHAT_FIELDS = (
    "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
    "structured_outputs", "regex", "grammar", "lora", "chat_template_kwargs", "reasoning_effort", "n",
    "logprobs", "top_logprobs", "messages",
)  # fmt: skip
COMPLETION_FIELDS = ("prompt", "n", "best_of", "echo", "suffix", "logprobs", "response_format", "lora")


def refused(fields: dict[str, Any]) -> InvalidRequest | None:
    try:
        request, _ = read_chat(body(**fields))
        chat_parameters(request, EVERYTHING)
        chat_form(request)
    except InvalidRequest as error:
        return error
    return None


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(CHAT_FIELDS, VALUES) | {"messages": MESSAGES}))
def test_a_chat(fields: dict[str, Any]) -> None:
    refusal = refused(fields)
    assert refusal is None or refusal.param


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(COMPLETION_FIELDS, VALUES)))
def test_a_completion(fields: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidRequest):
        request = decode_completion(json.dumps({"model": "m", "prompt": "x"} | fields).encode())
        completion_items(request, 10)
        completion_parameters(request, EVERYTHING)
