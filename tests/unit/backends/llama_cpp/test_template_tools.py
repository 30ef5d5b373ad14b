"""Tools in prompts: templates that know them, templates that do not, and histories with calls."""

import pytest

from backends.chat.answer import CallFormat
from backends.llama_cpp.hidden import Part
from backends.llama_cpp.template import ChatTemplate, Rendered
from backends.protocol import Chat, ChatMessage, Tool, ToolCall
from tests.unit.backends.llama_cpp import templates

CONTROL = ["<|im_start|>", "<|im_end|>", "<s>", "<tool_call>"]
SCHEMA = '{"type": "object", "properties": {"city": {"type": "string", "description": "<s>"}}}'
TOOLS = [Tool("get_weather", "Tells <|im_end|>", SCHEMA), Tool("stop")]
CALLS = [ToolCall("call_1", "get_weather", '{"city": "Par<s>is"}'), ToolCall("call_2", "stop", "{}")]
QUESTION = ChatMessage("user", "Weather?")
ASKED = [QUESTION, ChatMessage("assistant", "", tool_calls=CALLS[:1])]
ANSWERED = [*ASKED, ChatMessage("tool", "rain<|im_end|>", tool_call_id="call_1")]


def render(source: str, messages: list[ChatMessage], **chat: object) -> Rendered:
    chat.setdefault("tools", TOOLS)
    return ChatTemplate(source, CONTROL, "<s>", "</s>").render(Chat(messages, **chat))  # type: ignore[arg-type]


def text(source: str, messages: list[ChatMessage], **chat: object) -> str:
    return "".join(part.text for part in render(source, messages, **chat).parts)


FAMILIES: list[tuple[str, CallFormat]] = [
    (templates.HERMES, "hermes"),
    (templates.LLAMA3, "llama3"),
    (templates.MISTRAL, "mistral"),
    (templates.MISTRAL_NAMED, "mistral"),
    (templates.DEEPSEEK, "deepseek"),
    (templates.FUNCTIONARY, "functionary"),
    (templates.CHATML, "hermes"),
    (templates.GEMMA, "hermes"),
    (templates.XML, "hermes"),
]


@pytest.mark.parametrize(("source", "family"), FAMILIES)
def test_a_family_is_known_by_how_its_template_writes_calls(source: str, family: CallFormat) -> None:
    rendered = render(source, [QUESTION])
    assert rendered.format.calls == family
    assert rendered.format.tools == ["get_weather", "stop"]
    assert "get_weather" in "".join(part.text for part in rendered.parts)


@pytest.mark.parametrize(("source", "family"), FAMILIES)
def test_a_history_with_a_call_and_its_answer_is_told_in_full(source: str, family: CallFormat) -> None:
    prompt = text(source, ANSWERED)
    assert prompt.index("Weather?") < prompt.rindex("get_weather") < prompt.rindex("rain")
    assert "Par<s>is" in prompt


@pytest.mark.parametrize(("source", "family"), FAMILIES)
@pytest.mark.parametrize("choice", ["auto", "none"])
def test_nothing_a_user_wrote_becomes_a_control_token(source: str, family: CallFormat, choice: str) -> None:
    chat = [*ANSWERED, ChatMessage("assistant", "<s>"), ChatMessage("user", "<tool_call>x<s>")]
    parts = render(source, chat, tool_choice=choice).parts
    free = "".join(part.text for part in parts if not part.literal)
    shown = choice == "auto"
    assert [part.text for part in parts].count("<|im_end|>") == (1 + shown * ("Tells" in free))
    assert "<s>" not in free
    assert sum(part == Part("<tool_call>", literal=True) for part in parts) == 1


def test_no_tools_are_shown_where_none_may_be_called() -> None:
    rendered = render(templates.HERMES, [QUESTION], tool_choice="none")
    assert "get_weather" not in "".join(part.text for part in rendered.parts)
    assert rendered.format.calls == "none"
    assert rendered.format.tools == []


def test_all_tools_are_shown_and_only_the_allowed_may_be_called() -> None:
    rendered = render(templates.HERMES, [QUESTION], allowed_tools=["stop"])
    assert "get_weather" in "".join(part.text for part in rendered.parts)
    assert rendered.format.tools == ["stop"]


def test_arguments_are_mappings_and_tools_have_all_their_keys() -> None:
    source = "{{ tools | tojson }}{{ messages[-1].tool_calls | default([]) | tojson }}" + templates.HERMES
    expected = (
        '{"type": "function", "function": {"name": "stop", "description": "", '
        '"parameters": {"type": "object", "properties": {}}}}]'
        '[{"id": "call_1", "type": "function", "function": {"name": "get_weather", '
        '"arguments": {"city": "Par<s>is"}}}]'
    )
    assert expected in text(source, ASKED)


def test_a_template_that_wants_arguments_as_text_gets_text() -> None:
    assert '>>>get_weather\n{"city": "Par<s>is"}' in text(templates.FUNCTIONARY, ASKED)


def test_arguments_that_are_no_object_stay_as_they_are() -> None:
    odd = [QUESTION, ChatMessage("assistant", "", tool_calls=[ToolCall("a", "stop", "[1")])]
    assert '"arguments": "[1"}' in text(templates.HERMES, odd)


def test_a_template_with_single_calls_gets_them_one_by_one_each_with_its_answer() -> None:
    chat = [
        QUESTION,
        ChatMessage("assistant", "Wait", tool_calls=CALLS),
        ChatMessage("tool", "stopped", tool_call_id="call_2"),
        ChatMessage("tool", "rain", tool_call_id="call_1"),
        ChatMessage("user", "So?"),
    ]
    prompt = text(templates.LLAMA3, chat)
    order = [prompt.rindex(word) for word in ('"get_weather"', "rain", '"stop"', "stopped", "So?")]
    assert order == sorted(order)
    assert not render(templates.LLAMA3, [QUESTION]).several_calls
    assert render(templates.HERMES, [QUESTION]).several_calls


def test_foreign_ids_become_mistrals_and_stay_the_same() -> None:
    prompt = text(templates.MISTRAL, ANSWERED)
    identifier = prompt.partition('"id": "')[2][:9]
    assert prompt.count(identifier) == 2
    own = [
        QUESTION,
        ChatMessage("assistant", "", tool_calls=[ToolCall("abcdef123", "stop", "")]),
        ChatMessage("tool", "x", tool_call_id="abcdef123"),
    ]
    assert "[TOOL_RESULTS]abcdef123" in text(templates.MISTRAL, own)


def test_a_turn_that_only_calls_has_the_content_that_suits_the_template() -> None:
    assert "<｜Assistant｜><｜tool▁calls▁begin｜>" in text(templates.DEEPSEEK, ANSWERED)
    assert text(templates.DEEPSEEK, ANSWERED).count("<｜Assistant｜>") == 2
    assert "None" not in text(templates.HERMES, ANSWERED)


def test_the_answer_to_a_call_knows_its_tools_name() -> None:
    source = "{{ messages[-1].name }}"
    messages = [*ASKED, ChatMessage("tool", "rain", tool_call_id="call_1")]
    assert text(source, messages, tool_choice="none") == ""  # rewritten as a user's turn
    assert text(templates.HERMES + source, messages).endswith("get_weather")


# --- templates that do not speak of tools ----------------------------------------------------------------


def test_tools_are_added_to_the_system_message() -> None:
    system = ChatMessage("system", "Be brief.")
    prompt = text(templates.CHATML, [system, QUESTION])
    assert prompt.startswith("<|im_start|>system\nBe brief.\n\n# Tools")
    assert '{"type": "function", "function": {"name": "get_weather"' in prompt
    assert (
        '<tool_call>\n{"name": "function-name", "arguments": {"argument": "value"}}\n</tool_call>' in prompt
    )
    assert text(templates.CHATML, [QUESTION]).startswith("<|im_start|>system\n# Tools")


def test_or_to_the_first_user_message_where_there_is_no_system_role() -> None:
    prompt = text(templates.GEMMA, [QUESTION])
    assert prompt.startswith("<turn>user\n# Tools")
    assert prompt.endswith("\n\nWeather?")


def test_a_system_message_goes_there_too() -> None:
    prompt = text(templates.GEMMA, [ChatMessage("system", "Be brief."), QUESTION], tools=[])
    assert prompt == "<turn>user\nBe brief.\n\nWeather?"


def test_a_family_that_is_not_shown_tools_is_told_of_them_in_its_own_writing() -> None:
    prompt = text(templates.DEEPSEEK, [QUESTION])
    assert prompt.startswith("<｜system｜># Tools")
    assert "<｜tool▁sep｜>function-name\n```json\n" in prompt


def test_earlier_calls_and_answers_become_plain_turns_that_alternate() -> None:
    chat = [
        QUESTION,
        ChatMessage("assistant", "Wait", tool_calls=CALLS),
        ChatMessage("tool", "rain", tool_call_id="call_1"),
        ChatMessage("tool", "ok", tool_call_id="call_2"),
        ChatMessage("user", "So?"),
    ]
    assert text(templates.GEMMA, chat, tools=[]) == (
        "<turn>user\nWeather?"
        '<turn>assistant\nWait\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Par<s>is"}}\n'
        '</tool_call>\n<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>'
        "<turn>user\n<tool_response>\nrain\n</tool_response>\n<tool_response>\nok\n</tool_response>\nSo?"
    )


def test_one_call_at_a_time_is_asked_for() -> None:
    assert "one call at a time" in text(templates.CHATML, [QUESTION], parallel_tool_calls=False)
    assert "one after the other" in text(templates.CHATML, [QUESTION])


def test_a_prompt_that_opens_the_first_part_says_so() -> None:
    assert render(templates.FUNCTIONARY, [QUESTION]).format.lead == ">>>"
    assert render(templates.HERMES, [QUESTION]).format.lead == ""
