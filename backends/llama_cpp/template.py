"""The model's own chat template, rendered in a sandbox the way transformers renders it.

Pure but for strftime_now. Must not tokenise: it yields text in which control tokens that a user wrote are
already hidden, and the parts that bring them back.
"""

import json
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from backends.base import JobError
from backends.protocol import ChatMessage

# What a template may raise on messages that it was not written for, jinja's own errors apart.
_RENDER_FAULTS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


class Part(Struct, frozen=True):
    """A piece of a prompt. `literal`: a user wrote it, so no control token may come of it."""

    text: str
    literal: bool


class ChatTemplate:
    """Compiled once a model. Raises TemplateError if the template itself is broken."""

    def __init__(self, source: str, control_texts: Sequence[str], bos_token: str, eos_token: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
        self._template = environment.from_string(source)
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token}
        longest_first = sorted(set(control_texts), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def render(self, messages: Sequence[ChatMessage]) -> list[Part]:
        """The prompt up to the assistant's turn. Raises JobError if the template refuses the messages."""
        if not messages:
            raise JobError("there are no messages", param="messages")
        hidden = _Hidden(self._control)
        turns = [_turn(message, hidden) for message in messages]
        try:
            text = self._template.render(
                messages=turns, add_generation_prompt=True, tools=None, documents=None, **self._tokens
            )
        except (TemplateError, *_RENDER_FAULTS) as error:
            reason = str(error) or type(error).__name__
            raise JobError(
                f"the model's chat template does not take these messages: {reason}", param="messages"
            ) from error
        return hidden.split(text)


class _Hidden:
    """Control texts that users wrote, each replaced by a mark that nobody can guess."""

    def __init__(self, control: re.Pattern[str] | None) -> None:
        self._control = control
        self._texts: list[str] = []
        # Private-use characters and digits: templates that trim or change case leave them alone.
        self._opening = f"\ue000{secrets.randbelow(10**18):018d}-"
        self._mark = re.compile(f"{re.escape(self._opening)}(\\d+)\ue001")

    def hide(self, text: str) -> str:
        return self._control.sub(self._replace, text) if self._control else text

    def split(self, rendered: str) -> list[Part]:
        """Parts in order; every odd piece of the split is the number of a hidden text."""
        pieces = self._mark.split(rendered)
        parts = [
            Part(self._texts[int(piece)], True) if index % 2 else Part(piece, False)
            for index, piece in enumerate(pieces)
        ]
        return [part for part in parts if part.text]

    def _replace(self, match: re.Match[str]) -> str:
        self._texts.append(match[0])
        return f"{self._opening}{len(self._texts) - 1}\ue001"


def _turn(message: ChatMessage, hidden: _Hidden) -> dict[str, str]:
    turn = {"role": message.role, "content": hidden.hide(message.content)}
    if message.name:
        turn["name"] = hidden.hide(message.name)
    return turn


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """As transformers: jinja's own filter would escape HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
