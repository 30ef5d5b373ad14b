"""Finds out what a chat template does with tools, by rendering conversations whose every word is known.

A source only tells what a template might do. Must not see a request.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from backends.chat.writing import HERMES, recognise, recognise_instructions
from backends.llama_cpp.hidden import Hidden
from backends.llama_cpp.jinja import JinjaTemplate, Refused
from backends.llama_cpp.turns import Traits, message_turns, tool_turns
from backends.protocol import ChatMessage, Tool, ToolCall

_NAME, _VALUE, _RESULT, _SYSTEM = "probe_function", "probe_value", "probe_result", "probe_system"
_TOOL = Tool(
    _NAME,
    "probe_description",
    '{"type": "object", "properties": {"probe_key": {"type": "string", "description": "probe_words"}}, '
    '"required": ["probe_key"]}',
)
_USER = ChatMessage("user", "probe_question")
_ARGUMENTS = f'{{"probe_key": "{_VALUE}"}}'
_CALLS = [ToolCall(f"probe000{number}", _NAME, _ARGUMENTS) for number in range(2)]
_RESULTS = [ChatMessage("tool", _RESULT, name=_NAME, tool_call_id=call.id) for call in _CALLS]
_CALLING = ChatMessage("assistant", "", tool_calls=_CALLS[:1])
_TWICE_ENCODED = '\\"probe_key'
_SHAPES = ((None, False), ("", False), (None, True), ("", True))
"""Content of a turn that only calls, and whether its arguments are text; in order of preference."""
_NATIVE = Traits(shows_tools=True, writes_calls=True, writes_results=True)


def find_traits(template: JinjaTemplate, variables: Mapping[str, object]) -> Traits:
    """`variables`: those that it always gets."""
    return _Probe(template, variables).traits()


class _Probe:
    def __init__(self, template: JinjaTemplate, variables: Mapping[str, object]) -> None:
        self._template = template
        self._variables = variables

    def traits(self) -> Traits:
        takes_system = _SYSTEM in self._render([ChatMessage("system", _SYSTEM), _USER], Traits())
        prompt = self._render([_USER], _NATIVE, [_TOOL])
        shows_tools = _NAME in prompt
        tools = [_TOOL] if shows_tools else []
        traits = self._history(tools, prompt if shows_tools else self._render([_USER], _NATIVE))
        if traits is None:
            told = recognise_instructions(prompt) if shows_tools else None
            return Traits(told or HERMES, shows_tools=told is not None, takes_system=takes_system)
        both = self._render(
            [_USER, ChatMessage("assistant", "", tool_calls=_CALLS), *_RESULTS], traits, tools
        )
        return replace(
            traits,
            shows_tools=shows_tools,
            takes_system=takes_system,
            several_calls=both.count(_VALUE) == len(_CALLS),
        )

    def _history(self, tools: list[Tool], prompt: str) -> Traits | None:
        """How turns that call have to look; None: it can render none, or writes calls in an unknown way."""
        found = None
        for no_content, text_arguments in _SHAPES:
            traits = replace(_NATIVE, no_content=no_content, text_arguments=text_arguments)
            text = self._render([_USER, _CALLING], traits, tools)
            writing = recognise(text, _common_length(prompt, text), _NAME)
            if writing is None or _VALUE not in text or "None" in text or _TWICE_ENCODED in text:
                continue
            traits = replace(traits, writing=writing)
            if _RESULT in self._render([_USER, _CALLING, _RESULTS[0]], traits, tools):
                return traits
            found = found or replace(traits, writes_results=False)
        return found

    def _render(self, messages: Sequence[ChatMessage], traits: Traits, tools: Sequence[Tool] = ()) -> str:
        hidden = Hidden()
        turns = message_turns(messages, hidden, traits)
        try:
            return self._template.render_turns(self._variables, turns, tool_turns(tools, hidden))
        except Refused:
            return ""


def _common_length(first: str, second: str) -> int:
    """How far two texts are the same."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))
