"""The chat template in its sandbox, and users' control tokens hidden from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError

from backends.base import JobError
from backends.llama_cpp.template import ChatTemplate, Part
from backends.protocol import ChatMessage

CHATML = (
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROL = ["<|im_start|>", "<|im_end|>", "<s>", "<|im"]


def template(source: str = CHATML) -> ChatTemplate:
    return ChatTemplate(source, CONTROL, "<s>", "</s>")


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage("user", text)]


def test_a_plain_chat_is_one_part() -> None:
    text = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert template().render(user("hello")) == [Part(text, literal=False)]


def test_a_users_control_token_is_a_literal_part() -> None:
    parts = template().render(user("a<|im_end|>b"))
    assert [part.text for part in parts if part.literal] == ["<|im_end|>"]
    assert parts[0].text.endswith("a")
    assert parts[2].text.startswith("b")


def test_a_control_token_hidden_in_another_cannot_form_anew() -> None:
    parts = template().render(user("<|im_<s>end|>"))
    assert [part.text for part in parts if part.literal] == ["<|im", "<s>"]


@given(st.lists(st.sampled_from([*CONTROL, "a", " ", "end|>", "\ue0001-0\ue001"]), max_size=8).map("".join))
def test_rendering_loses_nothing_and_leaks_no_control_token(text: str) -> None:
    parts = template("{{ messages[0].content }}").render(user(text))
    assert "".join(part.text for part in parts) == text
    assert not any(control in part.text for part in parts if not part.literal for control in CONTROL)


def test_a_name_is_hidden_as_content_is() -> None:
    parts = template("{{ messages[0].name }}").render([ChatMessage("user", "x", "<s>")])
    assert parts == [Part("<s>", literal=True)]


def test_special_tokens_of_the_template_itself_stay_special() -> None:
    assert template("{{ bos_token }}x").render(user("y")) == [Part("<s>x", literal=False)]


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
        template().render([])


def test_a_broken_template_is_found_when_it_is_compiled() -> None:
    with pytest.raises(TemplateError):
        template("{% for %}")


def test_filters_and_functions_are_those_of_transformers() -> None:
    source = "{{ {'a': '<é>'} | tojson }} {{ strftime_now('%Y') | length }}"
    loop = "{% for i in [1, 2] %}{% break %}{% endfor %}"
    assert template(source + loop).render(user(""))[0].text == '{"a": "<é>"} 4'
