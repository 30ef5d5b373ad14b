"""Chat results as OpenAI's objects and chunks: the official package's own types read them."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from backends.protocol import CallDelta, Delta, GenerationResult, TokenLogprob, ToolCall, TopLogprob
from compat.openai.answers import Answer
from compat.openai.chat_answers import ChatForm, render_chat
from compat.openai.chat_chunks import ChatChunks

ANSWER = Answer("chatcmpl-1", 5, "m", "fp_1")
CALLS = [ToolCall("call_1", "f", '{"x":1}'), ToolCall("call_2", "g", "{}")]
PARTIAL = TokenLogprob(b"\xc3", -0.5, [TopLogprob(b"\xc3", -0.5), TopLogprob("é".encode(), float("-inf"))], 7)


def rendered(form: ChatForm, *results: GenerationResult) -> ChatCompletion:
    return ChatCompletion.model_validate_json(render_chat(ANSWER, results, form), strict=True)


def frames(*parts: bytes) -> list[ChatCompletionChunk]:
    texts = b"".join(parts).decode().removesuffix("data: [DONE]\n\n")
    return [
        ChatCompletionChunk.model_validate_json(text.removeprefix("data: "), strict=True)
        for text in texts.split("\n\n")
        if text
    ]


def raw(frame: bytes) -> dict[str, Any]:
    (choice,) = json.loads(frame.removeprefix(b"data: "))["choices"]
    return choice  # type: ignore[no-any-return]


def test_plain_text_has_nothing_else() -> None:
    message = json.loads(render_chat(ANSWER, [GenerationResult("hi", "stop", 3, 2)], ChatForm()))
    assert message["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hi", "refusal": None, "annotations": []},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]


def test_calls_alone_leave_the_content_null() -> None:
    form = ChatForm(calls="tool_calls")
    (choice,) = rendered(form, GenerationResult("", "tool_calls", 3, 2, tool_calls=CALLS)).choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    called = [
        (call.id, call.type, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or []
        if call.type == "function"
    ]
    assert called == [("call_1", "function", "f", '{"x":1}'), ("call_2", "function", "g", "{}")]
    spoken = GenerationResult("wait", "tool_calls", 3, 2, tool_calls=CALLS)
    assert rendered(form, spoken).choices[0].message.content == "wait"
    assert rendered(form, GenerationResult("", "stop", 3, 0)).choices[0].message.content == ""


def test_the_older_shape_has_its_own_words() -> None:
    form = ChatForm(calls="function_call")
    result = GenerationResult("", "tool_calls", 3, 2, tool_calls=CALLS[:1])
    (choice,) = rendered(form, result).choices
    assert choice.finish_reason == "function_call"
    assert choice.message.tool_calls is None
    assert choice.message.function_call is not None
    assert choice.message.function_call.model_dump() == {"name": "f", "arguments": '{"x":1}'}


def test_reasoning_has_two_names() -> None:
    result = GenerationResult("4", "stop", 3, 9, reasoning="2+2", reasoning_tokens=6)
    answer = rendered(ChatForm(), result)
    extra = answer.choices[0].message.model_extra
    assert extra == {"reasoning_content": "2+2", "reasoning": "2+2"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 6


def test_logprobs_keep_exact_bytes_and_finite_numbers() -> None:
    result = GenerationResult("é", "stop", 3, 2, logprobs=[PARTIAL, TokenLogprob(b"\xa9", -1.0)])
    (choice,) = rendered(ChatForm(logprobs=True), result).choices
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    first, second = choice.logprobs.content
    assert (first.token, first.bytes, first.logprob) == ("\ufffd", [0xC3], -0.5)
    assert [(top.token, top.logprob, top.bytes) for top in first.top_logprobs] == [
        ("\ufffd", -0.5, [0xC3]),
        ("é", -9999.0, [0xC3, 0xA9]),
    ]
    assert (second.bytes, second.top_logprobs) == ([0xA9], [])
    silent = rendered(ChatForm(logprobs=True), GenerationResult("", "stop", 3, 0))
    assert silent.choices[0].logprobs is not None
    assert silent.choices[0].logprobs.content == []


def test_several_answers_share_the_cost_of_their_prompt() -> None:
    results = [GenerationResult(text, "stop", 7, 2, 5, accepted_draft_tokens=1) for text in "abc"]
    answer = rendered(ChatForm(answers=3), *results)
    assert [(choice.index, choice.message.content) for choice in answer.choices] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
    ]
    usage = answer.usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 6, 13)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 5
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.accepted_prediction_tokens == 3


# --- chunks -------------------------------------------------------------------------------------------


def test_a_plain_stream_of_several_answers() -> None:
    chunks = ChatChunks(ANSWER, ChatForm(answers=2), include_usage=True)
    opened = frames(chunks.opening())
    assert [(c.choices[0].index, c.choices[0].delta.role, c.choices[0].delta.content) for c in opened] == [
        (0, "assistant", ""),
        (1, "assistant", ""),
    ]
    (said,) = frames(chunks.delta(Delta("j", 1, 'a"\n')))
    assert (said.choices[0].index, said.choices[0].delta.content) == (1, 'a"\n')
    assert chunks.delta(Delta("j", 1, "")) == b""
    (end,) = frames(chunks.finish(1, GenerationResult("", "length", 3, 2)))
    assert (end.choices[0].index, end.choices[0].finish_reason) == (1, "length")
    results = [GenerationResult("", "stop", 3, 2), GenerationResult("", "stop", 3, 4)]
    (usage,) = frames(chunks.closing(results))
    assert usage.choices == []
    assert usage.usage is not None
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens) == (3, 6)


def test_calls_are_streamed_with_their_name_first() -> None:
    chunks = ChatChunks(ANSWER, ChatForm(calls="tool_calls"), include_usage=False)
    assert raw(chunks.opening())["delta"] == {"role": "assistant", "content": None, "refusal": None}
    pieces = [CallDelta(0, "", "call_1", "f"), CallDelta(0, '{"x'), CallDelta(1, "{", "call_2", "g")]
    assert raw(chunks.delta(Delta("j", 0, "", calls=pieces)))["delta"] == {
        "tool_calls": [
            {
                "index": 0,
                "function": {"arguments": '{"x', "name": "f"},
                "id": "call_1",
                "type": "function",
            },
            {"index": 1, "function": {"arguments": "{", "name": "g"}, "id": "call_2", "type": "function"},
        ]
    }
    assert raw(chunks.delta(Delta("j", 0, "", calls=[CallDelta(0, '":1}')])))["delta"] == {
        "tool_calls": [{"index": 0, "function": {"arguments": '":1}'}}]
    }
    end = raw(chunks.finish(0, GenerationResult("", "tool_calls", 3, 2)))
    assert (end["delta"], end["finish_reason"]) == ({}, "tool_calls")


def test_the_older_calls_are_streamed_without_ids() -> None:
    chunks = ChatChunks(ANSWER, ChatForm(calls="function_call"), include_usage=False)
    first = Delta("j", 0, "", calls=[CallDelta(0, "{", "call_1", "f")])
    assert raw(chunks.delta(first))["delta"] == {"function_call": {"arguments": "{", "name": "f"}}
    then = Delta("j", 0, "", calls=[CallDelta(0, "}")])
    assert raw(chunks.delta(then))["delta"] == {"function_call": {"arguments": "}"}}
    result = GenerationResult("", "tool_calls", 3, 2)
    assert raw(chunks.finish(0, result))["finish_reason"] == "function_call"


def test_reasoning_and_text_of_one_piece() -> None:
    chunks = ChatChunks(ANSWER, ChatForm(), include_usage=False)
    assert raw(chunks.delta(Delta("j", 0, "4", reasoning="2+2")))["delta"] == {
        "reasoning_content": "2+2",
        "reasoning": "2+2",
        "content": "4",
    }


@pytest.mark.parametrize("text", ["é", ""])
def test_logprobs_go_with_their_piece_even_where_it_has_no_text(text: str) -> None:
    chunks = ChatChunks(ANSWER, ChatForm(logprobs=True), include_usage=False)
    (chunk,) = frames(chunks.delta(Delta("j", 0, text, logprobs=[PARTIAL])))
    (choice,) = chunk.choices
    assert (choice.delta.content or "") == text
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert [token.bytes for token in choice.logprobs.content] == [[0xC3]]
