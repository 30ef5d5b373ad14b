"""What the answer to a chat must match: calls, what the request demands otherwise, and reasoning before both.

Owns which schemas are followed to the letter. A tool's schema binds where it is strict or a call is demanded;
where the model itself chooses to call, a schema that cannot be followed is left to the model.
"""

import json
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

from backends.base import JobError
from backends.chat.call_grammar import (
    OTHER,
    AnswerGrammar,
    CallableTool,
    after_reasoning,
    forced_calls,
    offered_calls,
)
from backends.chat.lark import Terminals
from backends.llama_cpp.template import Rendered
from backends.protocol import Chat, Constraint, Tool

_NO_ARGUMENTS = '{"type": "object", "properties": {}, "additionalProperties": false}'
_ANY_ARGUMENTS = '{"type": "object"}'
_SAYS_ITS_TYPE = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})


class Compiler(Protocol):
    """What is used of grammar.GrammarCompiler. Each method raises JobError."""

    def constraint(self, constraint: Constraint) -> str: ...
    def schema(self, source: str, place: str) -> str: ...
    def whole(self, lark: str, place: str, others: Mapping[str, str] | None = None) -> str: ...


class Bounds(Struct, frozen=True):
    """`grammar` as PreparedPrompt has it; empty: nothing is demanded."""

    grammar: str = ""
    triggers: list[str] = field(default_factory=list)


class AnswerGrammars:
    """`control`: ids of the texts that are control tokens."""

    def __init__(self, compiler: Compiler, control: Mapping[str, int]) -> None:
        self._compiler = compiler
        self._control = control

    def bounds(self, chat: Chat, rendered: Rendered, constraint: Constraint | None) -> Bounds:
        """Raises JobError for a schema or a constraint that cannot be followed."""
        calls = rendered.format.calls != "none"
        if calls and chat.tool_choice == "required":
            return self._forced(chat, rendered, None)
        if calls and constraint is not None:
            return self._forced(chat, rendered, constraint)
        if constraint is not None:
            return self._constrained(rendered, constraint)
        return self._offered(chat, rendered) if calls else Bounds()

    def _forced(self, chat: Chat, rendered: Rendered, constraint: Constraint | None) -> Bounds:
        grammar = forced_calls(
            self._tools(chat, rendered, to_the_letter=constraint is None),
            rendered.writing,
            rendered.format,
            self._control,
            several=_may_call_often(chat, rendered),
            other=constraint is not None,
        )
        return self._compiled(grammar, "tools" if constraint is None else constraint.param, constraint)

    def _constrained(self, rendered: Rendered, constraint: Constraint) -> Bounds:
        grammar = after_reasoning(OTHER, [], rendered.format, Terminals(self._control))
        return self._compiled(grammar, constraint.param, constraint)

    def _offered(self, chat: Chat, rendered: Rendered) -> Bounds:
        several = _may_call_often(chat, rendered)
        tools = self._tools(chat, rendered, to_the_letter=False)
        try:
            grammar = offered_calls(tools, rendered.writing, self._control, several=several)
            return self._compiled(grammar, "tools", None)
        except JobError:
            if any(tool.strict for tool in chat.tools):
                raise
            return Bounds()  # too much for one grammar: what the model writes is read all the same

    def _compiled(self, grammar: AnswerGrammar, place: str, constraint: Constraint | None) -> Bounds:
        others = {OTHER.removeprefix("@"): self._compiler.constraint(constraint)} if constraint else {}
        return Bounds(self._compiler.whole(grammar.lark, place, others), grammar.triggers)

    def _tools(self, chat: Chat, rendered: Rendered, *, to_the_letter: bool) -> list[CallableTool]:
        """Those that may be called."""
        allowed = set(rendered.format.tools)
        return [
            CallableTool(tool.name, self._schema(tool, index, to_the_letter or tool.strict))
            for index, tool in enumerate(chat.tools)
            if tool.name in allowed
        ]

    def _schema(self, tool: Tool, index: int, to_the_letter: bool) -> str:
        place = f"tools[{index}].function.parameters"
        try:
            return self._compiler.schema(_arguments_schema(tool.parameters, place), place)
        except JobError:
            if to_the_letter:
                raise
            return self._compiler.schema(_ANY_ARGUMENTS, place)


def _may_call_often(chat: Chat, rendered: Rendered) -> bool:
    """A named tool is called once: that is what clients take naming it for."""
    named = chat.tool_choice == "required" and len(chat.allowed_tools) == 1
    return chat.parallel_tool_calls and rendered.several_calls and not named


def _arguments_schema(source: str, place: str) -> str:
    """Arguments are an object, whether or not their schema says so; without a schema there are none."""
    if not source:
        return _NO_ARGUMENTS
    try:
        schema = json.loads(source)
    except (ValueError, RecursionError):
        return source  # whoever reads it next knows how to refuse it
    if not isinstance(schema, dict):
        return source
    if schema.get("type", "object") != "object":
        raise JobError(f"{place}.type: arguments are an object", param=f"{place}.type")
    if _SAYS_ITS_TYPE & schema.keys():
        return source
    return '{"type": "object", ' + source.strip()[1:] if schema else _NO_ARGUMENTS
