"""`/v1/chat/completions`: what may be asked, and the job it becomes.

Owns the request's shape and its translation. Must not know HTTP, the engine or configuration.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from backends.protocol import Chat, ChatMessage, Description, GenerateParameters
from compat.decoding import decode
from compat.errors import InvalidRequest, invalid, unsupported
from compat.openai.sampling import (
    ABSENT,
    Count,
    SamplingRequest,
    generate_parameters,
    refuse_more_than_one,
    refuse_unless_harmless,
)


class ContentPart(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a message. Only text is read; other kinds' fields are known so as to refuse the part."""

    type: str
    text: str | None = None
    prompt_cache_breakpoint: Raw = ABSENT
    """Accepted: a hint that changes no answer."""
    image_url: Raw = ABSENT
    input_audio: Raw = ABSENT
    file: Raw = ABSENT
    refusal: Raw = ABSENT


class RequestMessage(Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    # What clients echo of earlier answers; accepted where it says nothing.
    refusal: str | None = None
    annotations: Raw = ABSENT
    audio: Raw = ABSENT
    tool_calls: Raw = ABSENT
    function_call: Raw = ABSENT
    reasoning_content: Raw = ABSENT
    reasoning: Raw = ABSENT


class ChatCompletionRequest(SamplingRequest, frozen=True, kw_only=True):
    messages: list[RequestMessage]
    max_completion_tokens: Count | None = None
    # Accepted and without effect: they steer OpenAI's own accounting and caches.
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # Known, and refused unless the value asks for nothing; see _HARMLESS.
    store: Raw = ABSENT
    service_tier: Raw = ABSENT
    response_format: Raw = ABSENT
    logprobs: Raw = ABSENT
    top_logprobs: Raw = ABSENT
    tools: Raw = ABSENT
    tool_choice: Raw = ABSENT
    parallel_tool_calls: Raw = ABSENT
    functions: Raw = ABSENT
    function_call: Raw = ABSENT
    modalities: Raw = ABSENT
    audio: Raw = ABSENT
    prediction: Raw = ABSENT
    web_search_options: Raw = ABSENT
    moderation: Raw = ABSENT
    reasoning_effort: Raw = ABSENT
    verbosity: Raw = ABSENT
    prompt_cache_retention: Raw = ABSENT
    prompt_cache_options: Raw = ABSENT


_HARMLESS: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "service_tier": ("auto", "default"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "moderation": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "prompt_cache_retention": ("in_memory",),
    "prompt_cache_options": (),
}
_HARMLESS_IN_MESSAGE: dict[str, tuple[Any, ...]] = {
    "annotations": ([],),
    "audio": (),
    "tool_calls": ([],),
    "function_call": (),
    "reasoning_content": ("",),
    "reasoning": ("",),
}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_LATER_ROLES = ("tool", "function")

_decoder = msgspec.json.Decoder(ChatCompletionRequest)


def decode_chat(body: bytes) -> ChatCompletionRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def chat_parameters(request: ChatCompletionRequest, description: Description) -> GenerateParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    refuse_more_than_one(request.n)
    refuse_unless_harmless(request, _HARMLESS)
    limit, older = request.max_completion_tokens, request.max_tokens
    if limit is not None and older is not None and limit != older:
        raise invalid("max_tokens", "it differs from 'max_completion_tokens'; give one of them.")
    return generate_parameters(request, description, older if limit is None else limit)


def conversation(messages: list[RequestMessage], system: str | None = None) -> Chat:
    """The messages for the model's template; `system` and leading system or developer messages become one."""
    if not messages:
        raise invalid("messages", "it must hold at least one message.")
    translated: list[ChatMessage] = []
    leading = [] if system is None else [system]
    for index, message in enumerate(messages):
        one = _message(message, f"messages[{index}]")
        if one.role == "system" and not translated:
            leading.append(one.content)
        else:
            translated.append(one)
    if leading:
        translated.insert(0, ChatMessage("system", "\n\n".join(leading)))
    return Chat(translated)


def _message(message: RequestMessage, path: str) -> ChatMessage:
    role = _ROLES.get(message.role)
    if role is None:
        if message.role in _LATER_ROLES:
            raise unsupported(f"{path}.role", f"Messages of the role '{message.role}' are not supported.")
        raise invalid(f"{path}.role", "it must be system, developer, user or assistant.")
    try:
        refuse_unless_harmless(message, _HARMLESS_IN_MESSAGE)
    except InvalidRequest as error:
        raise unsupported(f"{path}.{error.param}") from None
    if message.tool_call_id is not None:
        raise unsupported(f"{path}.tool_call_id")
    content = _content(message, f"{path}.content")
    return ChatMessage(role, content, message.name or "")  # type: ignore[arg-type]  # a value of _ROLES


def _content(message: RequestMessage, path: str) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    if content is None:
        if message.role == "assistant":
            return message.refusal or ""
        raise invalid(path, "it is required, as a text or a list of text parts.")
    texts = []
    for index, part in enumerate(content):
        if part.type != "text":
            kind = part.type[:64]
            raise unsupported(
                f"{path}[{index}]", f"Content of the type '{kind}' is not supported: only text is."
            )
        if part.text is None:
            raise invalid(f"{path}[{index}].text", "it is required.")
        texts.append(part.text)
    return "\n".join(texts)
