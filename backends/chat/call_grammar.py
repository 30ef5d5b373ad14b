"""What an answer with calls must look like, as a grammar in llguidance's Lark dialect.

Pure text: compiles nothing and checks no schema. Two kinds:
- an answer that must call, or must match something else where it does not: its grammar holds from the start,
  or from the end of reasoning on;
- an answer that may call: its grammar holds from the first text on that only a call begins with, so that
  whatever the model begins to call becomes a whole call of a known tool.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from backends.chat.answer import AnswerFormat
from backends.chat.lark import Terminals, regex_literal
from backends.chat.writing import CallWriting

OTHER = "@other"
"""How a grammar refers to the one for answers without calls."""
_MOST_CALLS = 16
"""In one answer: a weak model that must call would go on until its tokens are spent."""
_GAP = "GAP: /[ \\n]{1,8}/"


class CallableTool(Struct, frozen=True):
    """`schema`: of its arguments, as JSON text fit for `%json`."""

    name: str
    schema: str


class AnswerGrammar(Struct, frozen=True):
    """`lark` holds from the first of `triggers` on, itself included; without any, from the start."""

    lark: str
    triggers: list[str]


def forced_calls(
    tools: Sequence[CallableTool],
    writing: CallWriting,
    format: AnswerFormat,
    control: Mapping[str, int],
    *,
    several: bool,
    other: bool = False,
) -> AnswerGrammar:
    """The answer is calls, or with `other` what that grammar matches. `control`: ids of control tokens."""
    terminals = Terminals(control)
    if other and _is_bare(writing):
        rules = _object_rules(tools, writing, several)
    else:
        rules = _call_rules(tools, writing, terminals.exact, format.lead, several)
    return after_reasoning(f"calls | {OTHER}" if other else "calls", rules, format, terminals)


def offered_calls(
    tools: Sequence[CallableTool], writing: CallWriting, control: Mapping[str, int], *, several: bool
) -> AnswerGrammar:
    """The answer is free until it begins a call."""
    lead = writing.call if _is_addressed(writing) else ""
    terminals = Terminals(control)
    text = terminals.loose if "{" in writing.call else terminals.exact
    rules = _call_rules(tools, writing, text, lead, several)
    return AnswerGrammar("\n".join(["start: calls", *rules]), _triggers(tools, writing))


def after_reasoning(
    answer: str, rules: Sequence[str], format: AnswerFormat, terminals: Terminals
) -> AnswerGrammar:
    """What an `answer` must be, once the model has ended its reasoning, if it reasons at all."""
    if not format.think_close:
        return AnswerGrammar("\n".join([f"start: {answer}", *rules]), [])
    if format.in_reasoning:
        start = f"start: {terminals.exact(format.think_close)} GAP? answer"
        return AnswerGrammar("\n".join([start, f"answer: {answer}", _GAP, *rules]), [format.think_close])
    opened, closed = terminals.exact(format.think_open), terminals.exact(format.think_close)
    if terminals.is_control(format.think_close):
        thought = [f"thought: THOUGHT? {closed}", "THOUGHT: /(.|\\n)+/"]
    else:
        thought = [f"thought[lazy]: /(.|\\n)*{regex_literal(format.think_close)}/"]
    start = f"start: ({opened} thought GAP?)? answer"
    return AnswerGrammar("\n".join([start, f"answer: {answer}", _GAP, *thought, *rules]), [])


def _call_rules(
    tools: Sequence[CallableTool], writing: CallWriting, text: Callable[[str], str], lead: str, several: bool
) -> list[str]:
    """`lead`: what stands before the first call already."""
    more = f"({text(writing.between)} call){{0,{_MOST_CALLS - 1}}}" if several else ""
    named = " | ".join(f"named_{number}" for number in range(len(tools)))
    rules = [
        f"calls: {text((writing.begin + writing.call).removeprefix(lead))} named {more} {text(writing.end)}",
        f"call: {text(writing.call)} named",
        f"named: ({named}) {text(writing.done)}",
    ]
    for number, tool in enumerate(tools):
        rules.append(f"named_{number}: {text(tool.name + writing.arguments)} arguments_{number}")
        rules.append(f"arguments_{number}: %json {tool.schema}")
    return rules if several else [rule for rule in rules if not rule.startswith("call:")]


def _object_rules(tools: Sequence[CallableTool], writing: CallWriting, several: bool) -> list[str]:
    """Calls as schemas: beside another JSON answer they must be read in the same small pieces as that."""
    begin, between, end = (
        json.dumps(text) if text else "" for text in (writing.begin, writing.between, writing.end)
    )
    more = f"({between} call){{0,{_MOST_CALLS - 1}}}" if several else ""
    rules = [
        f"calls: {begin} call {more} {end}",
        "call: " + " | ".join(f"call_{number}" for number in range(len(tools))),
    ]
    return rules + [f"call_{n}: %json {_object_schema(tool, writing)}" for n, tool in enumerate(tools)]


def _object_schema(tool: CallableTool, writing: CallWriting) -> str:
    """Of a whole call. Definitions and options of the arguments' schema belong to the top."""
    arguments = json.loads(tool.schema)
    top = {key: arguments.pop(key) for key in ("$defs", "x-guidance") if key in arguments}
    key = "parameters" if writing.family == "llama3" else "arguments"
    return json.dumps(
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, key: arguments},
            "required": ["name", key],
            "additionalProperties": False,
            **top,
        },
        ensure_ascii=False,
    )


def _is_bare(writing: CallWriting) -> bool:
    """Whether an answer that calls begins like any other JSON."""
    return writing.begin in ("", "[") and writing.call.startswith("{")


def _triggers(tools: Sequence[CallableTool], writing: CallWriting) -> list[str]:
    if _is_addressed(writing):
        return [f"{tool.name}\n{{" for tool in tools]
    marker = (writing.begin or writing.call).partition("{")[0].strip()
    if len(marker) > 1:
        return [marker]
    return [f'{writing.begin}{{"name":{space}"{tool.name}"' for tool in tools for space in ("", " ")]


def _is_addressed(writing: CallWriting) -> bool:
    """Whether a call begins with its tool's name and a line end: `>>>` alone announces text as well."""
    return writing.family == "functionary" and writing.arguments == "\n"
