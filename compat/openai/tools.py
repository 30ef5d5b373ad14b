"""`tools`, `tool_choice` and the older `functions`, `function_call`: what an answer may call.

Owns their shapes, limits and translation. Must not judge the schemas of arguments: the worker's prepare stage
does.
"""

from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from backends.protocol import Tool
from compat.decoding import decode_part
from compat.errors import InvalidRequest, invalid, unsupported
from compat.openai.json_text import object_text
from compat.openai.names import check_name
from compat.openai.raw import ABSENT, is_given, kind_of

MAX_TOOLS = 128

Choice = Literal["auto", "none", "required"]


class FunctionDefinition(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None


class FunctionTool(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    function: FunctionDefinition


class FunctionName(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class FunctionReference(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    function: FunctionName


class AllowedTools(Struct, frozen=True, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: list[FunctionReference]


class AllowedToolsChoice(Struct, frozen=True, forbid_unknown_fields=True):
    type: str
    allowed_tools: AllowedTools


class ToolUse(Struct, frozen=True):
    """The tools of a request, in the words of backends.protocol.Chat."""

    tools: list[Tool] = field(default_factory=list)
    choice: Choice = "auto"
    allowed: list[str] = field(default_factory=list)


_tool = msgspec.json.Decoder(FunctionTool)
_word = msgspec.json.Decoder(Literal["none", "auto", "required"])
_reference = msgspec.json.Decoder(FunctionReference)
_allowed = msgspec.json.Decoder(AllowedToolsChoice)
_older_word = msgspec.json.Decoder(Literal["none", "auto"])
_older_name = msgspec.json.Decoder(FunctionName)


def read_tools(tools: list[Raw] | None, tool_choice: Raw) -> ToolUse:
    """Raises InvalidRequest."""
    _check_count(tools, "tools")
    read = [_read_tool(bytes(raw), f"tools[{index}]") for index, raw in enumerate(tools or [])]
    _check_names([tool.name for tool in read], "tools[{}].function.name")
    choice, allowed = _read_choice(tool_choice, [tool.name for tool in read])
    return ToolUse(read, choice, allowed)


def read_functions(functions: list[FunctionDefinition] | None, function_call: Raw) -> ToolUse:
    """The same in the older shape, which knows no ids and one call an answer. Raises InvalidRequest."""
    _check_count(functions, "functions")
    read = [_translate(one, f"functions[{index}]") for index, one in enumerate(functions or [])]
    names = [tool.name for tool in read]
    _check_names(names, "functions[{}].name")
    if not is_given(function_call):
        return ToolUse(read)
    data = bytes(function_call)
    if data.startswith(b"{"):
        name = decode_part(data, _older_name, "function_call").name
        return ToolUse(read, "required", [_known(name, names, "function_call.name", "functions")])
    return ToolUse(read, decode_part(data, _older_word, "function_call"))


def _read_tool(data: bytes, path: str) -> Tool:
    kind = kind_of(data, path)
    if kind != "function":
        raise unsupported(
            f"{path}.type", f"Tools of the type '{kind[:64]}' are not supported: functions are."
        )
    return _translate(decode_part(data, _tool, path).function, f"{path}.function")


def _translate(function: FunctionDefinition, path: str) -> Tool:
    check_name(function.name, f"{path}.name")
    schema = object_text(function.parameters, f"{path}.parameters") if is_given(function.parameters) else ""
    return Tool(function.name, function.description or "", schema, bool(function.strict))


def _read_choice(raw: Raw, names: list[str]) -> tuple[Choice, list[str]]:
    if not is_given(raw):
        return "auto", []
    data, param = bytes(raw), "tool_choice"
    if not data.startswith(b"{"):
        word = decode_part(data, _word, param)
        if word == "required" and not names:
            raise _no_tools(param, "tools")
        return word, []
    kind = kind_of(data, param)
    if kind == "function":
        name = decode_part(data, _reference, param).function.name
        return "required", [_known(name, names, f"{param}.function.name", "tools")]
    if kind != "allowed_tools":
        raise unsupported(
            f"{param}.type", f"'tool_choice.type' '{kind[:64]}' is not supported: functions are."
        )
    allowed = decode_part(data, _allowed, param).allowed_tools
    return allowed.mode, _read_allowed(allowed.tools, names, f"{param}.allowed_tools.tools")


def _read_allowed(references: list[FunctionReference], names: list[str], path: str) -> list[str]:
    if not references:
        raise invalid(path, "it must name at least one tool.")
    for index, reference in enumerate(references):
        if reference.type != "function":
            raise unsupported(f"{path}[{index}].type")
    known = [
        _known(reference.function.name, names, f"{path}[{index}].function.name", "tools")
        for index, reference in enumerate(references)
    ]
    return list(dict.fromkeys(known))


def _known(name: str, names: list[str], param: str, among: str) -> str:
    if not names:
        raise _no_tools(param.partition(".")[0], among)
    if name not in names:
        raise invalid(param, f"none of '{among}' has that name.")
    return name


def _no_tools(param: str, among: str) -> InvalidRequest:
    return invalid(param, f"'{among}' must hold what is to be called.")


def _check_count(tools: list[Raw] | list[FunctionDefinition] | None, param: str) -> None:
    if tools is not None and len(tools) > MAX_TOOLS:
        raise invalid(param, f"at most {MAX_TOOLS}, got {len(tools)}.")


def _check_names(names: list[str], path: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise invalid(path.format(index), "the name is given twice.")
        seen.add(name)
