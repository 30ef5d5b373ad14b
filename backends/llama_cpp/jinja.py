"""Chat templates in a sandbox, with the filters and functions that transformers gives them.

Pure but for strftime_now. Knows nothing of messages and tools.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from backends.llama_cpp.hidden import MARK_BRACKETS

# What a template may raise on messages that it was not written for, jinja's own errors apart.
_RENDER_FAULTS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


_PROBE = "probe_content"


class Refused(Exception):
    """The template cannot render these variables; its own reason, if it gives one."""


class JinjaTemplate:
    """Raises TemplateError if the template itself is broken."""

    def __init__(self, source: str) -> None:
        environment = _environment()
        self._template = environment.from_string(source)
        self.variables = meta.find_undeclared_variables(environment.parse(source))
        """Names that it may read from outside; some are set by itself."""
        self._reads_parts = None if "type" in source else False
        """It shows contents in lists of parts only, as some templates of models that see; None: not tried."""

    def render(self, variables: Mapping[str, object]) -> str:
        """Raises Refused."""
        try:
            return self._template.render(variables)
        except (TemplateError, *_RENDER_FAULTS) as error:
            raise Refused(str(error) or type(error).__name__) from error

    def render_turns(
        self, variables: Mapping[str, object], turns: Sequence[object], tools: Sequence[object]
    ) -> str:
        """Where there are no tools they are none, as in transformers, or an empty list. Raises Refused.

        Contents are texts; a template that wants them in parts gets them so.
        """
        if self._reads_parts is None:
            self._reads_parts = self._wants_parts(variables)
        return self._turns(variables, in_parts(turns) if self._reads_parts else turns, tools)

    def _turns(
        self, variables: Mapping[str, object], turns: Sequence[object], tools: Sequence[object]
    ) -> str:
        try:
            return self.render({**variables, "messages": turns, "tools": tools or None})
        except Refused:
            if tools:
                raise
            return self.render({**variables, "messages": turns, "tools": []})

    def _wants_parts(self, variables: Mapping[str, object]) -> bool:
        turn = {"role": "user", "content": _PROBE}
        return not self._shows(variables, turn) and self._shows(variables, in_parts([turn])[0])

    def _shows(self, variables: Mapping[str, object], turn: object) -> bool:
        try:
            return _PROBE in self._turns(variables, [turn], [])
        except Refused:
            return False


def in_parts(turns: Sequence[object]) -> list[object]:
    """Turns with their text as the one part of a list."""
    return [
        turn | {"content": [{"type": "text", "text": turn["content"]}]}
        if isinstance(turn, dict) and isinstance(turn.get("content"), str)
        else turn
        for turn in turns
    ]


class _Generation(Extension):
    """`{% generation %}` marks the answers for training; here it is only its content."""

    tags = {"generation"}  # noqa: RUF012 - declared like this in jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return list(parser.parse_statements(("name:endgeneration",), drop_needle=True))


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers: jinja's own filter would escape HTML. The marks of hidden texts are never escaped."""
    text = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    if ensure_ascii:
        for bracket in MARK_BRACKETS:
            text = text.replace(f"\\u{ord(bracket):04x}", bracket)
    return text
