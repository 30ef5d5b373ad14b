"""From a chat to its prompt: the model's own template, tools, reasoning, and what the answer will look like.

Must not tokenise: it yields text in which control tokens that a user wrote are already hidden, and the parts
that bring them back.
"""

import json
from collections.abc import Callable, Sequence
from functools import cached_property

from msgspec import Struct

from backends.base import JobError
from backends.chat.answer import AnswerFormat
from backends.chat.tool_prompt import tool_instructions
from backends.chat.writing import CallWriting
from backends.llama_cpp.hidden import Hidden, Part, any_of
from backends.llama_cpp.jinja import JinjaTemplate, Refused
from backends.llama_cpp.traits import find_traits
from backends.llama_cpp.turns import Traits, Turn, add_instructions, message_turns, tool_turns
from backends.protocol import Chat

__all__ = ["ChatTemplate", "Part", "Rendered", "knows_effort"]

_THINK_TAGS = [("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>")]
_SWITCHES = ("enable_thinking", "thinking")
"""Variables by which templates let a request turn reasoning on or off."""
_NO_EFFORT = ("none", "minimal")
_OURS = frozenset({"messages", "tools", "tool_choice", "add_generation_prompt", "bos_token", "eos_token"})
"""Variables that a request may not set."""
_LEAD = ">>>"


class Rendered(Struct, frozen=True):
    """A prompt, and how its answer is to be read. `writing`: how calls in it are written."""

    parts: list[Part]
    format: AnswerFormat
    writing: CallWriting
    several_calls: bool


class ChatTemplate:
    """Compiled once a model. Raises TemplateError if the template itself is broken.

    `is_token`: whether a text is one token of the vocabulary. A model whose vocabulary has think tags may
    think, also where its template does not mention them.
    """

    def __init__(
        self,
        source: str,
        control_texts: Sequence[str],
        bos_token: str,
        eos_token: str,
        is_token: Callable[[str], bool] = lambda text: False,
    ) -> None:
        self._template = JinjaTemplate(source)
        self._constants: dict[str, object] = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "add_generation_prompt": True,
            "documents": None,
        }
        self._control = any_of(control_texts)
        self._think_tags = next((tags for tags in _THINK_TAGS if _has_tags(source, tags, is_token)), ("", ""))

    @cached_property
    def traits(self) -> Traits:
        """Found out when it is first asked for: most chats have no tools."""
        return find_traits(self._template, self._constants)

    def render(self, chat: Chat) -> Rendered:
        """The prompt up to the assistant's turn. Raises JobError if the template refuses the chat."""
        if not chat.messages:
            raise JobError("there are no messages", param="messages")
        with_calls = bool(chat.tools) or any(m.tool_calls or m.role == "tool" for m in chat.messages)
        traits = self.traits if with_calls else Traits()
        hidden = Hidden(self._control)
        turns = message_turns(chat.messages, hidden, traits)
        tools = tool_turns(chat.tools, hidden) if chat.tool_choice != "none" else []
        if tools and not traits.shows_tools:
            parallel = chat.parallel_tool_calls and traits.several_calls
            instructions = tool_instructions(tools, traits.writing, parallel=parallel)
            turns = add_instructions(turns, instructions, takes_system=traits.takes_system)
        variables = self._variables(chat, hidden)
        text = self._render(turns, tools if traits.shows_tools else [], variables)
        parts = hidden.split(text)
        _check_media(chat, parts)
        return Rendered(parts, self._format(chat, text, traits), traits.writing, traits.several_calls)

    def _render(self, turns: list[Turn], tools: list[Turn], variables: dict[str, object]) -> str:
        try:
            try:
                return self._template.render_turns(variables, turns, tools)
            except Refused:
                if turns[0]["role"] != "system" or self.traits.takes_system:
                    raise
                merged = add_instructions(turns[1:], str(turns[0]["content"]), takes_system=False)
                return self._template.render_turns(variables, merged, tools)
        except Refused as error:
            raise JobError(
                f"the model's chat template does not take these messages: {error}", param="messages"
            ) from error

    def _format(self, chat: Chat, text: str, traits: Traits) -> AnswerFormat:
        think_open, think_close = self._think_tags
        names = chat.allowed_tools or [tool.name for tool in chat.tools]
        callable_names = names if chat.tool_choice != "none" else []
        family = traits.writing.family
        return AnswerFormat(
            family if callable_names else "none",
            callable_names,
            think_open,
            think_close,
            in_reasoning=bool(think_open) and text.rstrip().endswith(think_open),
            lead=_LEAD if family == "functionary" and text.endswith(_LEAD) else "",
        )

    def _variables(self, chat: Chat, hidden: Hidden) -> dict[str, object]:
        arguments = json.loads(chat.template_arguments) if chat.template_arguments else {}
        for name in arguments:
            if name in _OURS or name not in self._template.variables:
                reason = "is not for a request to set" if name in _OURS else "is unknown to the chat template"
                raise JobError(f"{name!r} {reason}", param=f"chat_template_kwargs.{name}")
        given = {name: hidden.hide_all(value) for name, value in arguments.items()}
        return self._constants | self._effort(chat.reasoning_effort, hidden) | given

    def _effort(self, effort: str, hidden: Hidden) -> dict[str, object]:
        """A template that only knows on and off is told that."""
        known = self._template.variables
        if not effort:
            return {}
        if not knows_effort(known):
            if effort == "none":
                return {}
            raise JobError("this model's chat template knows no reasoning effort", param="reasoning_effort")
        switches: dict[str, object] = {name: effort not in _NO_EFFORT for name in _SWITCHES if name in known}
        return switches | ({"reasoning_effort": hidden.hide(effort)} if "reasoning_effort" in known else {})


def _check_media(chat: Chat, parts: list[Part]) -> None:
    """Raises JobError where the template has left out, repeated or reordered what messages show."""
    shown = sum(len(message.media) for message in chat.messages)
    if [part.media for part in parts if part.media >= 0] != list(range(shown)):
        raise JobError("the model's chat template does not show all of these messages", param="messages")


def knows_effort(variables: set[str]) -> bool:
    """Whether a template with these variables can be told how much to reason."""
    return "reasoning_effort" in variables or any(switch in variables for switch in _SWITCHES)


def _has_tags(source: str, tags: tuple[str, str], is_token: Callable[[str], bool]) -> bool:
    return any(tag in source for tag in tags) or all(map(is_token, tags))
