"""The messages of a chat as a template gets them: dictionaries as transformers makes them.

Owns their shape, and the rewriting for templates that lack something. Everything that users wrote is hidden
before it gets here or here.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from msgspec import Struct

from backends.chat.families import MISTRAL_ID_LENGTH
from backends.chat.tool_prompt import joined, tool_response
from backends.chat.writing import HERMES, CallWriting
from backends.llama_cpp.hidden import Hidden
from backends.protocol import ChatMessage, Tool, ToolCall

Turn = dict[str, object]

_NO_PARAMETERS: dict[str, object] = {"type": "object", "properties": {}}


class Traits(Struct, frozen=True):
    """What a template does with tools, found out by rendering."""

    writing: CallWriting = HERMES
    shows_tools: bool = False
    writes_calls: bool = False
    writes_results: bool = False
    takes_system: bool = True
    several_calls: bool = True
    """An assistant's turn may hold more than one call."""
    text_arguments: bool = False
    """It wants arguments as JSON text, not as a mapping."""
    no_content: str | None = ""
    """What stands for the content of a turn that only calls."""


def tool_turns(tools: Sequence[Tool], hidden: Hidden) -> list[Turn]:
    return [
        {
            "type": "function",
            "function": {
                "name": hidden.hide(tool.name),
                "description": hidden.hide(tool.description),
                "parameters": hidden.hide_all(_object(tool.parameters) or _NO_PARAMETERS),
            },
        }
        for tool in tools
    ]


def message_turns(messages: Sequence[ChatMessage], hidden: Hidden, traits: Traits) -> list[Turn]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    turns = [_turn(message, hidden, traits, names) for message in messages]
    if not traits.several_calls and traits.writes_calls:
        turns = _one_call_a_turn(turns)
    if not traits.writes_calls:
        turns = [_with_written_calls(turn, traits.writing) for turn in turns]
    return turns if traits.writes_results else _with_user_results(turns)


def add_instructions(turns: list[Turn], instructions: str, *, takes_system: bool) -> list[Turn]:
    """To the system message, or to the first user message of a template that has none."""
    if takes_system:
        has_system = bool(turns) and turns[0]["role"] == "system"
        content = str(turns[0]["content"]) if has_system else ""
        system: Turn = {"role": "system", "content": joined(content, instructions)}
        return [system, *(turns[1:] if has_system else turns)]
    index = next((index for index, turn in enumerate(turns) if turn["role"] == "user"), None)
    if index is None:
        return [{"role": "user", "content": instructions}, *turns]
    turn = turns[index] | {"content": joined(instructions, str(turns[index]["content"]))}
    return [*turns[:index], turn, *turns[index + 1 :]]


def _turn(message: ChatMessage, hidden: Hidden, traits: Traits, names: Mapping[str, str]) -> Turn:
    turn: Turn = {"role": message.role, "content": _content(message, hidden)}
    name = message.name or names.get(message.tool_call_id, "")
    if name:
        turn["name"] = hidden.hide(name)
    if message.reasoning:
        turn["reasoning_content"] = hidden.hide(message.reasoning)
    if message.tool_call_id:
        turn["tool_call_id"] = hidden.hide(_call_id(message.tool_call_id, traits))
    if message.tool_calls:
        turn["tool_calls"] = [_call(call, hidden, traits) for call in message.tool_calls]
        turn["content"] = turn["content"] or traits.no_content
    return turn


def _content(message: ChatMessage, hidden: Hidden) -> str:
    """The text, with marks where media stand in it."""
    pieces: list[str] = []
    start = 0
    for one in message.media:
        pieces += [hidden.hide(message.content[start : one.at]), hidden.place_media()]
        start = one.at
    return "".join([*pieces, hidden.hide(message.content[start:])])


def _call(call: ToolCall, hidden: Hidden, traits: Traits) -> Turn:
    arguments: object = call.arguments or "{}"
    if not traits.text_arguments and (mapping := _object(call.arguments)) is not None:
        arguments = mapping
    return {
        "id": hidden.hide(_call_id(call.id, traits)),
        "type": "function",
        "function": {"name": hidden.hide(call.name), "arguments": hidden.hide_all(arguments)},
    }


def _call_id(text: str, traits: Traits) -> str:
    """Mistral's templates refuse the ids of other servers: those get one that stays the same."""
    if traits.writing.family != "mistral" or (
        len(text) == MISTRAL_ID_LENGTH and text.isascii() and text.isalnum()
    ):
        return text
    return hashlib.sha256(text.encode()).hexdigest()[:MISTRAL_ID_LENGTH]


def _object(text: str) -> dict[str, object] | None:
    """The JSON object in this text; None if it holds none."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _one_call_a_turn(turns: list[Turn]) -> list[Turn]:
    """Each call in a turn of its own, followed by its answer, for templates that know no more than that."""
    result: list[Turn] = []
    answers = {turn["tool_call_id"]: turn for turn in turns if turn.get("tool_call_id")}
    for turn in turns:
        calls = turn.get("tool_calls")
        if isinstance(calls, list) and len(calls) > 1:
            for index, call in enumerate(calls):
                first = {} if index == 0 else {"content": "", "reasoning_content": ""}
                result.append(turn | first | {"tool_calls": [call]})
                if (answer := answers.pop(call["id"], None)) is not None:
                    result.append(answer)
        elif turn.get("tool_call_id") in answers or turn["role"] != "tool" or "tool_call_id" not in turn:
            result.append(turn)
    return result


def _with_written_calls(turn: Turn, writing: CallWriting) -> Turn:
    calls = turn.get("tool_calls")
    if not isinstance(calls, list):
        return turn
    rest = {key: value for key, value in turn.items() if key != "tool_calls"}
    written = writing.write([(c["function"]["name"], _text(c["function"]["arguments"])) for c in calls])
    return rest | {"content": joined(str(turn["content"] or ""), written, "\n")}


def _text(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _with_user_results(turns: list[Turn]) -> list[Turn]:
    """Answers of tools as user's turns; those in a row, and a user's words right after, are one turn."""
    result: list[Turn] = []
    after_result = False
    for turn in turns:
        is_result = turn["role"] == "tool"
        content = tool_response(str(turn["content"])) if is_result else turn["content"]
        if after_result and turn["role"] in ("tool", "user"):
            result[-1]["content"] = f"{result[-1]['content']}\n{content}"
        else:
            result.append({"role": "user", "content": content} if is_result else turn)
        after_result = is_result
    return result
