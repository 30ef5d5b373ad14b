"""The messages of a chat: what each role may say, and the conversation they become.

Owns the shapes of messages and their translation, older function messages included. Must not know what a
model supports; `calls_in` says whether that question arises, and of pictures and sound message_media does.
"""

from typing import Any

from msgspec import Raw, Struct

from backends.protocol import Chat, ChatMedia, ChatMessage, ToolCall
from compat.errors import InvalidRequest, invalid, missing, unsupported
from compat.openai.message_media import ContentPart, MediaPart, unread_media
from compat.openai.raw import ABSENT, refuse_unless_harmless


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str
    """As the model wrote them: JSON, if it was whole."""


class MessageCall(Struct, frozen=True, forbid_unknown_fields=True):
    """A call of an earlier answer, sent back."""

    id: str
    function: CalledFunction | None = None
    type: str = "function"
    index: int | None = None
    """Accepted: what clients that put a stream together leave in it."""
    custom: Raw = ABSENT


class RequestMessage(Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    tool_calls: list[MessageCall] | None = None
    function_call: CalledFunction | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    """The same as `reasoning_content`: answers carry both, and clients send back what they got."""
    # What clients echo of earlier answers; accepted where it says nothing.
    annotations: Raw = ABSENT
    audio: Raw = ABSENT


HARMLESS: dict[str, tuple[Any, ...]] = {"annotations": ([],), "audio": ()}
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_OF_ONE_ROLE = {
    "tool_call_id": "tool",
    "tool_calls": "assistant",
    "function_call": "assistant",
    "refusal": "assistant",
    "reasoning_content": "assistant",
    "reasoning": "assistant",
}


def conversation(
    messages: list[RequestMessage], system: str | None = None, *, takes_media: bool = False
) -> Chat:
    """The messages for the model's template; `system` and leading system or developer messages become one.

    `takes_media`: pictures and sound in users' messages are taken as they are: see message_media.
    """
    if not messages:
        raise invalid("messages", "it must hold at least one message.")
    translated: list[ChatMessage] = []
    leading = [] if system is None else [system]
    calls = _Calls()
    for index, message in enumerate(messages):
        one = _translate(message, f"messages[{index}]", calls, takes_media)
        if one.role == "system" and not translated:
            leading.append(one.content)
        else:
            translated.append(one)
    if leading:
        translated.insert(0, ChatMessage("system", "\n\n".join(leading)))
    return Chat(translated)


def calls_in(messages: list[RequestMessage]) -> str | None:
    """Path of the first message part that has to do with calls: only some models know of them."""
    for index, message in enumerate(messages):
        if message.role in ("tool", "function"):
            return f"messages[{index}].role"
        if message.tool_calls:
            return f"messages[{index}].tool_calls"
        if message.function_call is not None:
            return f"messages[{index}].function_call"
    return None


class _Calls:
    """The calls of earlier turns, for the messages that answer them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._older: dict[str, str] = {}

    def made(self, message: RequestMessage, path: str) -> list[ToolCall]:
        """What an assistant's turn called, remembered."""
        if message.function_call is not None:
            if message.tool_calls:
                raise invalid(f"{path}.function_call", "'tool_calls' is given too; give one of them.")
            function = message.function_call
            # The older shape has no ids; the model's template may want one.
            identity = f"function_call_{len(self._names)}"
            self._names[identity] = function.name
            self._older[function.name] = identity
            return [ToolCall(identity, function.name, function.arguments)]
        calls: dict[str, ToolCall] = {}
        for index, call in enumerate(message.tool_calls or []):
            one = _call(call, f"{path}.tool_calls[{index}]")
            if one.id in calls:
                raise invalid(f"{path}.tool_calls[{index}].id", "another call of the message has it too.")
            calls[one.id] = one
            self._names[one.id] = one.name
        return list(calls.values())

    def answered(self, message: RequestMessage, path: str) -> tuple[str, str]:
        """Id and name of the call that a tool's turn answers."""
        if message.role == "function":
            return self._answered_function(message.name, f"{path}.name")
        identity = message.tool_call_id
        if identity is None:
            raise missing(f"{path}.tool_call_id")
        if identity not in self._names:
            raise invalid(f"{path}.tool_call_id", "no assistant's message before it made that call.")
        return identity, self._names[identity]

    def _answered_function(self, name: str | None, param: str) -> tuple[str, str]:
        if name is None:
            raise missing(param)
        if name not in self._older:
            raise invalid(param, "no assistant's message before it called that function.")
        return self._older[name], name


def _translate(message: RequestMessage, path: str, calls: _Calls, takes_media: bool) -> ChatMessage:
    role = _ROLES.get(message.role)
    if role is None:
        raise invalid(f"{path}.role", "it must be system, developer, user, assistant, tool or function.")
    try:
        refuse_unless_harmless(message, HARMLESS)
    except InvalidRequest as error:
        raise unsupported(f"{path}.{error.param}") from None
    _check_fields(message, path)
    if role == "assistant":
        return _assistant(message, path, calls)
    content, media = _content(message, f"{path}.content", takes_media=takes_media and role == "user")
    if role == "tool":
        identity, name = calls.answered(message, path)
        return ChatMessage("tool", content, message.name or name, tool_call_id=identity)
    return ChatMessage(role, content, message.name or "", media=media)  # type: ignore[arg-type]  # of _ROLES


def _check_fields(message: RequestMessage, path: str) -> None:
    for name, role in _OF_ONE_ROLE.items():
        if message.role != role and getattr(message, name):
            raise invalid(f"{path}.{name}", f"only a message of the role '{role}' has it.")


def _assistant(message: RequestMessage, path: str, calls: _Calls) -> ChatMessage:
    made = calls.made(message, path)
    reasoning = _reasoning(message, f"{path}.reasoning")
    content = (message.refusal or "") if message.content is None else _content(message, f"{path}.content")[0]
    return ChatMessage("assistant", content, message.name or "", made, reasoning=reasoning)


def _reasoning(message: RequestMessage, path: str) -> str:
    one, other = message.reasoning_content, message.reasoning
    if one and other and one != other:
        raise invalid(path, "it differs from 'reasoning_content'; give one of them.")
    return one or other or ""


def _call(call: MessageCall, path: str) -> ToolCall:
    if call.type != "function":
        kind = call.type[:64]
        raise unsupported(f"{path}.type", f"Calls of the type '{kind}' are not supported: functions are.")
    if call.function is None:
        raise missing(f"{path}.function")
    return ToolCall(call.id, call.function.name, call.function.arguments)


def _content(message: RequestMessage, path: str, *, takes_media: bool = False) -> tuple[str, list[ChatMedia]]:
    """The text, and what stands in it. Texts that follow one another are lines."""
    content = message.content
    if isinstance(content, str):
        return content, []
    if content is None:
        if message.role == "function":
            return "", []
        raise invalid(path, "it is required, as a text or a list of text parts.")
    text = ""
    media: list[ChatMedia] = []
    after_text = False
    for index, part in enumerate(content):
        one = _part(part, f"{path}[{index}]", message.role == "assistant", takes_media)
        if isinstance(one, str):
            text += f"\n{one}" if after_text else one
        else:
            media.append(unread_media(one, at=len(text)))
        after_text = isinstance(one, str)
    return text, media


def _part(part: ContentPart, path: str, may_refuse: bool, takes_media: bool) -> str | MediaPart:
    if takes_media and part.type in ("image_url", "input_audio"):
        return MediaPart(part, path)
    field = "refusal" if part.type == "refusal" and may_refuse else "text"
    if part.type != field:
        kind = part.type[:64]
        raise unsupported(path, f"Content of the type '{kind}' is not supported: only text is.")
    text = part.refusal if field == "refusal" else part.text
    if text is None:
        raise invalid(f"{path}.{field}", "it is required.")
    return text
