"""`/v1/chat/completions`: what may be asked, and the job it becomes.

Owns the request's shape and its translation. Must not know HTTP, the engine or configuration.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from backends.protocol import Chat, Description, GenerateParameters
from compat.decoding import decode
from compat.errors import invalid, unsupported
from compat.openai.chat_answers import ChatForm
from compat.openai.json_text import object_text
from compat.openai.messages import RequestMessage, calls_in, conversation
from compat.openai.raw import ABSENT, is_given, refuse_unless_harmless
from compat.openai.sampling import (
    Count,
    SamplingRequest,
    check_answers,
    generate_parameters,
    require,
)
from compat.openai.tools import FunctionDefinition, ToolUse, read_functions, read_tools

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ChatCompletionRequest(SamplingRequest, frozen=True, kw_only=True):
    messages: list[RequestMessage]
    max_completion_tokens: Count | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw = ABSENT
    parallel_tool_calls: bool | None = None
    functions: list[FunctionDefinition] | None = None
    function_call: Raw = ABSENT
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    chat_template_kwargs: Raw = ABSENT
    """Further variables for the model's chat template, as vLLM and llama-server name them."""
    # Accepted and without effect: they steer OpenAI's own accounting and caches.
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # Known, and refused unless the value asks for nothing; see HARMLESS.
    store: Raw = ABSENT
    service_tier: Raw = ABSENT
    modalities: Raw = ABSENT
    audio: Raw = ABSENT
    prediction: Raw = ABSENT
    web_search_options: Raw = ABSENT
    moderation: Raw = ABSENT
    verbosity: Raw = ABSENT
    prompt_cache_retention: Raw = ABSENT
    prompt_cache_options: Raw = ABSENT
    chat_template: Raw = ABSENT


HARMLESS: dict[str, tuple[Any, ...]] = {
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "moderation": (),
    "verbosity": ("medium",),
    "prompt_cache_retention": ("in_memory",),
    "prompt_cache_options": (),
}
_OUR_VARIABLES = (
    "messages",
    "tools",
    "tool_choice",
    "bos_token",
    "eos_token",
    "add_generation_prompt",
    "chat_template",
)
"""What a template gets from us; a request may not replace it."""

_decoder = msgspec.json.Decoder(ChatCompletionRequest)
_variables = msgspec.json.Decoder(dict[str, Raw])


def decode_chat(body: bytes) -> ChatCompletionRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def conversation_of(request: ChatCompletionRequest) -> Chat:
    """The request's messages and what they may call. Raises InvalidRequest.

    Media in it are unread: see message_media.
    """
    use = _tool_use(request)
    chat = conversation(request.messages, takes_media=True)
    return msgspec.structs.replace(
        chat,
        tools=use.tools,
        tool_choice=use.choice,
        allowed_tools=use.allowed,
        parallel_tool_calls=request.parallel_tool_calls is not False and not request.functions,
        reasoning_effort=request.reasoning_effort or "",
        template_arguments=template_arguments(request.chat_template_kwargs),
    )


def chat_parameters(request: ChatCompletionRequest, description: Description) -> GenerateParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    refuse_unless_harmless(request, HARMLESS)
    if is_given(request.chat_template):
        raise unsupported("chat_template", "The chat template is the model's own; it cannot be replaced.")
    limit, older = request.max_completion_tokens, request.max_tokens
    if limit is not None and older is not None and limit != older:
        raise invalid("max_tokens", "it differs from 'max_completion_tokens'; give one of them.")
    _check_features(request, description)
    answers = check_answers("n", request.n, request.model, description)
    parameters = generate_parameters(request, description, older if limit is None else limit, answers)
    return msgspec.structs.replace(parameters, logprobs=_logprobs(request, description))


def chat_form(request: ChatCompletionRequest) -> ChatForm:
    """What decides the shape of the answer."""
    return ChatForm(
        answers=request.n or 1,
        logprobs=bool(request.logprobs),
        calls="function_call" if request.functions else "tool_calls" if request.tools else "none",
    )


def _tool_use(request: ChatCompletionRequest) -> ToolUse:
    older = not request.tools and (bool(request.functions) or is_given(request.function_call))
    for name in ("tools", "tool_choice") if older else ("functions", "function_call"):
        value = getattr(request, name)
        if is_given(value) if isinstance(value, Raw) else value:
            one, other = ("tools", "functions") if older else ("functions", "tools")
            raise invalid(name, f"'{other}' is given too; '{one}' and '{other}' do not go together.")
    if older:
        return read_functions(request.functions, request.function_call)
    return read_tools(request.tools, request.tool_choice)


def _check_features(request: ChatCompletionRequest, description: Description) -> None:
    """Refuse what has no field among the job's parameters, where the model does not support it."""
    model = request.model
    if request.tools or request.functions:
        require("tools", model, description, "tools" if request.tools else "functions")
    if (path := calls_in(request.messages)) is not None:
        require("tools", model, description, path)
    if request.reasoning_effort not in (None, "none"):
        require("reasoning_effort", model, description)
    if is_given(request.chat_template_kwargs) and bytes(request.chat_template_kwargs) != b"{}":
        require("chat_template_kwargs", model, description)


def _logprobs(request: ChatCompletionRequest, description: Description) -> int | None:
    if not request.logprobs:
        if request.top_logprobs:
            raise invalid("top_logprobs", "it is only allowed when 'logprobs' is true.")
        return None
    require("logprobs", request.model, description)
    if not request.top_logprobs:
        return 0
    require("top_logprobs", request.model, description)
    most = description.limits.get("top_logprobs", request.top_logprobs)
    if request.top_logprobs > most:
        raise invalid("top_logprobs", f"the model gives at most {most}, got {request.top_logprobs}.")
    return request.top_logprobs


def template_arguments(raw: Raw) -> str:
    """`chat_template_kwargs` as JSON text; empty if there are none. Raises InvalidRequest."""
    if not is_given(raw):
        return ""
    text = object_text(raw, "chat_template_kwargs")
    for name in _variables.decode(text):
        if name in _OUR_VARIABLES:
            raise unsupported(f"chat_template_kwargs.{name}", f"'{name}' is not for a request to set.")
    return "" if text == "{}" else text
