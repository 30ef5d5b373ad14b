"""How each family writes a call: the pieces around its name and its arguments.

One table for three users: examples and history in prompts, the grammars of calls, and recognising a family by
how its chat template writes a call. Parsers take more than what is written here.
"""

import re

from msgspec import Struct

from backends.chat.answer import CallFormat
from backends.chat.families import MISTRAL_ID_LENGTH

MISTRAL_ID = "\0"
"""Stands in a piece for an id that the model makes up."""


class CallWriting(Struct, frozen=True):
    """`begin`, then for each call `call`, name, `arguments`, JSON object, `done`; `between` calls; `end`."""

    family: CallFormat
    call: str
    arguments: str
    done: str = ""
    begin: str = ""
    between: str = ""
    end: str = ""

    def write(self, calls: list[tuple[str, str]]) -> str:
        """Names and arguments as this family writes them."""
        written = (self.call + name + self.arguments + arguments + self.done for name, arguments in calls)
        text = self.begin + self.between.join(written) + self.end
        return text.replace(MISTRAL_ID, "0" * MISTRAL_ID_LENGTH)


def _objects(family: CallFormat, key: str, begin: str, between: str, end: str) -> CallWriting:
    return CallWriting(family, '{"name": "', f'", "{key}": ', "}", begin, between, end)


def _deepseek(call: str, arguments: str, done: str, between: str) -> CallWriting:
    begin, end = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
    return CallWriting("deepseek", call, arguments, done + "<｜tool▁call▁end｜>", begin, between, end)


HERMES = CallWriting("hermes", '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", between="\n")
_OBJECT = r'\{"name": ?"NAME", ?'
_MARKED: list[tuple[str, CallWriting]] = [
    (rf'<tool_call>\s*{_OBJECT}"arguments"', HERMES),
    (rf"\[TOOL_CALLS\]\s*\[{_OBJECT}", _objects("mistral", "arguments", "[TOOL_CALLS][", ", ", "]")),
    (
        r"\[TOOL_CALLS\]NAME\[CALL_ID\]",
        CallWriting("mistral", "[TOOL_CALLS]", f"[CALL_ID]{MISTRAL_ID}[ARGS]"),
    ),
    (r"\[TOOL_CALLS\]NAME\[ARGS\]", CallWriting("mistral", "[TOOL_CALLS]", "[ARGS]")),
    (
        r"function<｜tool▁sep｜>NAME\s*```json",
        _deepseek("<｜tool▁call▁begin｜>function<｜tool▁sep｜>", "\n```json\n", "\n```", "\n"),
    ),
    (r"NAME<｜tool▁sep｜>\{", _deepseek("<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "", "")),
    (r"<function=NAME>\s*\{", CallWriting("functionary", "<function=", ">", "</function>")),
    (r">>>NAME\n\{", CallWriting("functionary", ">>>", "\n")),
    (
        rf'<\|python_tag\|>\s*{_OBJECT}"parameters"',
        _objects("llama3", "parameters", "<|python_tag|>", "; ", ""),
    ),
    (rf'functools\[{_OBJECT}"arguments"', _objects("json", "arguments", "functools[", ", ", "]")),
    (
        rf'<\|tool_call\|>\s*\[{_OBJECT}"arguments"',
        _objects("json", "arguments", "<|tool_call|>[", ", ", "]"),
    ),
    (
        rf'<\|function_call\|>\s*{_OBJECT}"arguments"',
        _objects("json", "arguments", "<|function_call|>", "\n", ""),
    ),
    (
        rf'<tool_calls>\s*\[{_OBJECT}"arguments"',
        _objects("json", "arguments", "<tool_calls>[", ", ", "]</tool_calls>"),
    ),
    (
        rf'<tool_calls>\s*{_OBJECT}"arguments"',
        _objects("json", "arguments", "<tool_calls>\n", "\n", "\n</tool_calls>"),
    ),
]
"""Found anywhere."""
_UNMARKED: list[tuple[str, CallWriting]] = [
    (rf'\s*{_OBJECT}"parameters"', _objects("llama3", "parameters", "", "; ", "")),
    (rf'\s*{_OBJECT}"arguments"', _objects("json", "arguments", "", "\n", "")),
    (rf'\s*\[{_OBJECT}"arguments"', _objects("json", "arguments", "[", ", ", "]")),
]
"""At the beginning of a turn only: other text in front might be a marker that is unknown here."""
_TOLD: list[tuple[str, CallWriting]] = [
    (r'<tool_call>\s*\{\s*"name"', HERMES),
    (r"<\|tool_call\|>.{0,40}JSON list", _objects("json", "arguments", "<|tool_call|>[", ", ", "]")),
]


def recognise(text: str, turn_at: int, name: str) -> CallWriting | None:
    """How the turn that begins at `turn_at` calls `name`; None: in no way that a parser here reads."""
    quoted = re.escape(name)
    for pattern, writing in _MARKED:
        if re.search(pattern.replace("NAME", quoted), text):
            return writing
    for pattern, writing in _UNMARKED:
        if re.compile(pattern.replace("NAME", quoted)).match(text, turn_at):
            return writing
    return None


def recognise_instructions(prompt: str) -> CallWriting | None:
    """How a prompt that shows tools, and no call, tells the model to write calls."""
    return next((writing for pattern, writing in _TOLD if re.search(pattern, prompt)), None)
