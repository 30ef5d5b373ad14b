"""What the fake model says: an answer, planned from a prompt's directives and given piece by piece. Pure.

Directives stand in the prompt, of a chat in its last message; one a line:

    @say TEXT                the answer is TEXT, a word a token
    @call:NAME {…}           the answer calls a tool with these arguments; more lines, more calls
    @think:N                 N tokens of reasoning come first
    @wide:N                  each `w<i> ` is filled up to N characters
    @cached:N  @drafts:N     so many prompt tokens are told as cached, so many tokens as foretold

A tool is called only if the request offers it and allows it; `required` without a directive calls the first
with arguments that fit its schema. A JSON schema is answered with the smallest value that fits, a regular
expression only by a `@say` that matches. Of the template's variables `enable_thinking` counts, of the
adapters `shout`. Answer k > 0 to one item says `w<i>/<k> ` where the first says `w<i> `, and its tokens are a
little likelier.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from backends.base import JobError, PreparedItem
from backends.protocol import (
    CallDelta,
    Chat,
    Constraint,
    GenerateParameters,
    Infill,
    Item,
    Media,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    TopLogprob,
)

ADAPTERS = ["shout"]
HONOURED = [
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "seed",
    "stop",
    "logit_bias",
    "ignore_eos",
    "n",
    "best_of",
    "logprobs",
    "top_logprobs",
    "echo",
    "suffix",
    "tools",
    "response_format",
    "regex",
    "reasoning_effort",
    "chat_template_kwargs",
    "reproducible",
    "lora",
]
MOST_ANSWERS = 16
_NUMBER = re.compile(r"@([a-z-]+)(?::(\d+))?")
_CALL = re.compile(r"@call:([A-Za-z0-9_-]+)[ \t]*(\{.*\})?")
_SAY = re.compile(r"@say[ \t]+(.*)")
_WORD = re.compile(r"\s*\S+(?:\s+\Z)?|\s+\Z")
_EFFORT = {"": 0, "none": 0, "minimal": 1, "low": 2, "medium": 4, "high": 8, "xhigh": 16, "max": 32}
_ARGUMENT_CHARS = 6
"""Characters of a call's arguments that count as one token."""


class Canvas(PreparedItem):
    """What an edit begins with, both as PNG and of one size."""

    picture: bytes
    keep: bytes
    """White where the picture stays as it is; empty: nowhere."""


class FakeItem(PreparedItem):
    """A prompt, and what will be said to it."""

    text: str
    tokens: int
    think: int = 0
    said: list[str] | None = None
    """The answer's tokens; None: as many `w<i> ` as the model is set to say."""
    calls: list[ToolCall] = field(default_factory=list)
    digest: str = ""
    """Hash of a recording or a picture."""
    canvas: Canvas | None = None
    """Of an edit."""


class Piece(Struct, frozen=True):
    """One token of an answer."""

    text: str = ""
    reasoning: str = ""
    call: CallDelta | None = None

    @property
    def token(self) -> bytes:
        call = self.call
        return (self.text or self.reasoning or (call.name or call.arguments if call else "")).encode()


def directives(text: str) -> dict[str, int]:
    """Numbers by name; a name without a number counts as 0."""
    return {name: int(number or 0) for name, number in _NUMBER.findall(text)}


def words(text: str) -> list[str]:
    """The text's tokens, which joined are the text."""
    return _WORD.findall(text)


def said(text: str) -> list[str] | None:
    """The words that a `@say` in the text gives."""
    found = _SAY.search(text)
    return words(found[1]) if found else None


def plan(item: Item, parameters: GenerateParameters) -> FakeItem:
    """Raises JobError for a constraint that cannot be met."""
    text = _text(item)
    said_in = item.messages[-1].content if isinstance(item, Chat) else text
    answer = said(said_in)
    if parameters.constraint is not None:
        answer = _constrained(parameters.constraint, answer)
    tokens = len(text.split()) or 1
    if not isinstance(item, Chat):
        return FakeItem(text, tokens, directives(said_in).get("think", 0), answer)
    return FakeItem(text, tokens, _thoughts(item, said_in), answer, _calls(item, said_in))


def pieces(item: FakeItem, answer: int, adapters: dict[str, float], ids: Iterator[str]) -> Iterator[Piece]:
    """The tokens of one answer, without end unless the item says what the answer is."""
    for index in range(item.think):
        yield Piece(reasoning=f"r{index} ")
    if item.calls:
        for index, call in enumerate(item.calls):
            yield Piece(call=CallDelta(index, "", next(ids), call.name))
            for part in _split(call.arguments):
                yield Piece(call=CallDelta(index, part))
        return
    shout = bool(adapters.get("shout"))
    width = directives(item.text).get("wide", 0)
    for text in _numbered(answer, width) if item.said is None else item.said:
        yield Piece(text.upper() if shout else text)


def length(item: FakeItem, default: int) -> int:
    """Tokens of an answer that nothing cuts short."""
    if item.calls:
        return item.think + sum(1 + len(_split(call.arguments)) for call in item.calls)
    return item.think + (default if item.said is None else len(item.said))


def prompt_logprobs(text: str, top: int) -> list[TokenLogprob]:
    """Of an echoed prompt's tokens."""
    first, *others = [word.encode() for word in words(text)] or [b""]
    return [TokenLogprob(first, None), *(logprob(token, 0, top) for token in others)]


def logprob(token: bytes, answer: int, top: int) -> TokenLogprob:
    """The token that comes is the likeliest in its place; of `top` tokens the others are `o1`, `o2` …"""
    value = -1.0 / (1 + answer)
    others = [TopLogprob(b"o%d" % rank, value - rank, rank) for rank in range(1, top)]
    return TokenLogprob(token, value, [TopLogprob(token, value, 0), *others][:top], 0)


def _text(item: Item) -> str:
    if isinstance(item, Text):
        return item.text
    if isinstance(item, Chat):
        return "\n".join(message.content for message in item.messages)
    if isinstance(item, Infill):
        return f"{item.prefix}\n{item.suffix}"
    if isinstance(item, Media):
        raise JobError("this model takes no files", param="file")
    return " ".join(map(str, item.ids))


def _numbered(answer: int, width: int = 0) -> Iterator[str]:
    index, mark = 0, f"/{answer} " if answer else " "
    while True:
        yield f"w{index}{mark}".ljust(width)
        index += 1


def _split(arguments: str) -> list[str]:
    step = _ARGUMENT_CHARS
    return [arguments[start : start + step] for start in range(0, len(arguments), step)]


def _thoughts(chat: Chat, said_in: str) -> int:
    variables = json.loads(chat.template_arguments or "{}")
    if variables.get("enable_thinking") is False:
        return 0
    return directives(said_in).get("think", _EFFORT[chat.reasoning_effort])


def _calls(chat: Chat, said_in: str) -> list[ToolCall]:
    if chat.tool_choice == "none":
        return []
    offered = [tool for tool in chat.tools if not chat.allowed_tools or tool.name in chat.allowed_tools]
    names = {tool.name for tool in offered}
    calls = [
        ToolCall("", name, arguments or "{}") for name, arguments in _CALL.findall(said_in) if name in names
    ]
    if not calls and chat.tool_choice == "required":
        calls = [ToolCall("", offered[0].name, _arguments(offered[0]))]
    return calls if chat.parallel_tool_calls else calls[:1]


def _arguments(tool: Tool) -> str:
    return _instance_text(tool.parameters, "tools") if tool.parameters else "{}"


def _constrained(constraint: Constraint, answer: list[str] | None) -> list[str]:
    if constraint.kind == "json_object":
        return words("{}")
    if constraint.kind == "json_schema":
        return words(_instance_text(constraint.source, constraint.param))
    if constraint.kind == "regex" and answer is not None:
        try:
            if re.fullmatch(constraint.source, "".join(answer)):
                return answer
        except re.error as error:
            raise JobError(f"no regular expression: {error}", param=constraint.param) from None
    raise JobError("the scripted answer does not match", param=constraint.param)


def _instance_text(schema: str, param: str) -> str:
    root = json.loads(schema)
    try:
        return json.dumps(_instance(root, root))
    except (LookupError, TypeError, AttributeError, RecursionError):
        raise JobError("the fake model cannot follow this schema", param=param) from None


def _instance(schema: Any, root: Any) -> Any:
    """A small value that a schema of the usual keywords allows."""
    if reference := schema.get("$ref"):
        section, _, name = reference.removeprefix("#/").partition("/")
        return _instance(root[section][name], root)
    for keyword in ("const", "enum"):
        if keyword in schema:
            return schema["const"] if keyword == "const" else schema["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            return _instance(schema[keyword][0], root)
    kind = schema.get("type", "object")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _instance(properties[name], root) for name in schema.get("required", [])}
    if kind == "array":
        return [_instance(schema["items"], root) for _ in range(schema.get("minItems", 0))]
    simple = {"string": "w0", "integer": 0, "number": 0.5, "boolean": True, "null": None}
    return simple[kind if isinstance(kind, str) else kind[0]]
