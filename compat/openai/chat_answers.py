"""Whole chat answers as OpenAI shapes them; chat_chunks.py writes the streamed ones."""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from backends.protocol import GenerationResult, ToolCall
from compat.openai.answers import Answer, Usage, encode, usage_of
from compat.openai.logprobs import chat_logprobs

Calls = Literal["none", "tool_calls", "function_call"]


class ChatForm(Struct, frozen=True):
    """What of a request decides the shape of its answer."""

    answers: int = 1
    logprobs: bool = False
    calls: Calls = "none"
    """How a call is written; `function_call` is the older shape, which holds one."""


class AnswerFunction(Struct, frozen=True):
    name: str
    arguments: str


class AnswerCall(Struct, frozen=True):
    id: str
    type: Literal["function"]
    function: AnswerFunction


class AnswerMessage(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    annotations: list[str] = []
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    """The same under the two names that clients look for."""
    tool_calls: list[AnswerCall] | UnsetType = UNSET
    function_call: AnswerFunction | UnsetType = UNSET


class ChatChoice(Struct, frozen=True):
    index: int
    message: AnswerMessage
    finish_reason: str
    logprobs: Raw | None = None


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    service_tier: Literal["default"] = "default"
    system_fingerprint: str


def render_chat(answer: Answer, results: Sequence[GenerationResult], form: ChatForm) -> bytes:
    """The whole answer of a job that was not streamed."""
    return encode(
        ChatCompletion(
            id=answer.id,
            created=answer.created,
            model=answer.model,
            choices=[
                ChatChoice(
                    index,
                    _message(result, form.calls),
                    finish_reason(result, form.calls),
                    chat_logprobs(result.logprobs) if form.logprobs else None,
                )
                for index, result in enumerate(results)
            ],
            usage=usage_of(results, form.answers),
            system_fingerprint=answer.fingerprint,
        )
    )


def finish_reason(result: GenerationResult, calls: Calls) -> str:
    """Clients of the older shape wait for its own word."""
    reason = result.finish_reason
    return "function_call" if reason == "tool_calls" and calls == "function_call" else reason


def _message(result: GenerationResult, calls: Calls) -> AnswerMessage:
    older = calls == "function_call"
    made = result.tool_calls
    reasoning = result.reasoning or UNSET
    return AnswerMessage(
        content=None if made and not result.text else result.text,
        reasoning_content=reasoning,
        reasoning=reasoning,
        tool_calls=[_call(call) for call in made] if made and not older else UNSET,
        function_call=_function(made[0]) if made and older else UNSET,
    )


def _call(call: ToolCall) -> AnswerCall:
    return AnswerCall(call.id, "function", _function(call))


def _function(call: ToolCall) -> AnswerFunction:
    return AnswerFunction(call.name, call.arguments)
