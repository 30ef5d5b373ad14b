"""The chat template in its sandbox, users' control tokens hidden from it, and what it may be told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError

from backends.base import JobError
from backends.chat.answer import AnswerFormat
from backends.llama_cpp.hidden import Part
from backends.llama_cpp.template import ChatTemplate
from backends.protocol import Chat, ChatMessage
from tests.unit.backends.llama_cpp.templates import CHATML, HERMES

CONTROL = ["<|im_start|>", "<|im_end|>", "<s>", "<|im"]


def template(source: str = CHATML) -> ChatTemplate:
    return ChatTemplate(source, CONTROL, "<s>", "</s>")


def user(text: str) -> Chat:
    return Chat([ChatMessage("user", text)])


def parts(source: str, chat: Chat) -> list[Part]:
    return template(source).render(chat).parts


def text(source: str, chat: Chat) -> str:
    return "".join(part.text for part in parts(source, chat))


def test_a_plain_chat_is_one_part_and_a_plain_answer() -> None:
    rendered = template().render(user("hello"))
    expected = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert rendered.parts == [Part(expected, literal=False)]
    assert rendered.format == AnswerFormat()


def test_a_users_control_token_is_a_literal_part() -> None:
    first, second, third = parts(CHATML, user("a<|im_end|>b"))
    assert second == Part("<|im_end|>", literal=True)
    assert first.text.endswith("a")
    assert third.text.startswith("b")


def test_a_control_token_hidden_in_another_cannot_form_anew() -> None:
    assert [part.text for part in parts(CHATML, user("<|im_<s>end|>")) if part.literal] == ["<|im", "<s>"]


@given(st.lists(st.sampled_from([*CONTROL, "a", " ", "end|>", "\u27e61-0\u27e7"]), max_size=8).map("".join))
def test_rendering_loses_nothing_and_leaks_no_control_token(text: str) -> None:
    rendered = parts("{{ messages[0].content }}", user(text))
    assert "".join(part.text for part in rendered) == text
    assert not any(control in part.text for part in rendered if not part.literal for control in CONTROL)


def test_a_name_is_hidden_as_content_is() -> None:
    chat = Chat([ChatMessage("user", "x", "<s>")])
    assert parts("{{ messages[0].name }}", chat) == [Part("<s>", literal=True)]


def test_special_tokens_of_the_template_itself_stay_special() -> None:
    assert parts("{{ bos_token }}x", user("y")) == [Part("<s>x", literal=False)]


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[7]['content'] }}",
        "{{ 'a' + 1 }}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_that_refuses_is_the_requests_fault(source: str) -> None:
    with pytest.raises(JobError) as caught:
        template(source).render(user("hello"))
    assert caught.value.param == "messages"


def test_the_templates_own_reason_reaches_the_client() -> None:
    with pytest.raises(JobError, match="roles must alternate"):
        template("{{ raise_exception('roles must alternate') }}").render(user("hello"))


def test_no_messages_are_refused() -> None:
    with pytest.raises(JobError):
        template().render(Chat([]))


def test_a_broken_template_is_found_when_it_is_compiled() -> None:
    with pytest.raises(TemplateError):
        template("{% for %}")


def test_filters_functions_and_tags_are_those_of_transformers() -> None:
    source = "{{ {'a': '<é>'} | tojson }} {{ strftime_now('%Y') | length }}"
    loop = "{% for i in [1, 2] %}{% break %}{% endfor %}"
    generation = "{% generation %}{{ ' x' }}{% endgeneration %}"
    assert text(source + loop + generation, user("")) == '{"a": "<é>"} 4 x'


def test_marks_survive_a_template_that_escapes() -> None:
    rendered = parts("{{ messages[0].content | tojson(ensure_ascii=true) }}", user("é<s>"))
    assert rendered == [Part('"\\u00e9', False), Part("<s>", True), Part('"', False)]


def test_a_template_that_needs_a_list_of_tools_gets_an_empty_one() -> None:
    assert text("{{ tools | list | length }}", user("")) == "0"
    assert text("{{ tools is none }}", user("")) == "True"


# --- variables of a request ------------------------------------------------------------------------------


def told(variables: object, effort: str = "") -> Chat:
    return Chat(
        [ChatMessage("user", "hello")], template_arguments=json.dumps(variables), reasoning_effort=effort
    )


def test_a_request_sets_variables_that_the_template_knows() -> None:
    assert text("{{ shout }}", told({"shout": ["<é>", 1]})) == "['<é>', 1]"
    assert parts("{{ shout }}", told({"shout": "<s>"})) == [Part("<s>", literal=True)]


@pytest.mark.parametrize("name", ["messages", "tools", "add_generation_prompt", "bos_token", "unknown"])
def test_a_request_cannot_set_our_variables_or_unknown_ones(name: str) -> None:
    with pytest.raises(JobError) as caught:
        template().render(told({name: True}))
    assert caught.value.param == f"chat_template_kwargs.{name}"


def test_reasoning_effort_is_told_to_a_template_that_knows_it() -> None:
    assert text("{{ reasoning_effort }}", told({}, "high")) == "high"
    assert text("{{ reasoning_effort or '-' }}", told({})) == "-"


@pytest.mark.parametrize(("effort", "switch"), [("none", False), ("minimal", False), ("low", True)])
def test_a_template_that_only_knows_on_and_off_is_told_that(effort: str, switch: bool) -> None:
    assert text("{{ enable_thinking }}", told({}, effort)) == str(switch)
    assert text("{{ enable_thinking }}", told({"enable_thinking": not switch}, effort)) == str(not switch)


def test_effort_is_refused_where_the_template_knows_none() -> None:
    with pytest.raises(JobError) as caught:
        template().render(told({}, "low"))
    assert caught.value.param == "reasoning_effort"
    assert template().render(told({}, "none")).format == AnswerFormat()


# --- reasoning -------------------------------------------------------------------------------------------


def test_think_tags_are_those_of_the_template_and_the_prompt_may_end_inside() -> None:
    hermes = template(HERMES)
    assert hermes.render(user("a")).format == AnswerFormat("none", [], "<think>", "</think>")
    assert hermes.render(told({"enable_thinking": True})).format.in_reasoning
    assert not hermes.render(told({"enable_thinking": False})).format.in_reasoning


def test_a_vocabulary_with_think_tags_may_think_with_any_template() -> None:
    tokens = {"<think>", "</think>"}
    rendered = ChatTemplate(CHATML, CONTROL, "", "", lambda text: text in tokens).render(user("a"))
    assert rendered.format.think_close == "</think>"
    tokens.remove("<think>")
    rendered = ChatTemplate(CHATML, CONTROL, "", "", lambda text: text in tokens).render(user("a"))
    assert rendered.format.think_close == ""


def test_earlier_reasoning_reaches_the_template() -> None:
    chat = Chat([ChatMessage("assistant", "4", reasoning="2+2<s>"), ChatMessage("user", "and?")])
    assert "4<think>2+2<s></think>" in text(HERMES, chat)
    assert [part.text for part in parts(HERMES, chat) if part.literal] == ["<s>"]
