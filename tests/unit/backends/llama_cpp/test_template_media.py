"""Pictures and sound in a chat template: where their marks come out, and templates that want parts."""

import pytest

from backends.base import JobError
from backends.llama_cpp.hidden import Part
from backends.llama_cpp.template import ChatTemplate
from backends.protocol import Chat, ChatMedia, ChatMessage, Inline, Media
from tests.unit.backends.llama_cpp.templates import CHATML

IN_PARTS = """
{%- for m in messages %}{{ m['role'] | capitalize }}
{%- if m['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}
{%- for line in m['content'] %}
{%- if line['type'] == 'text' %}{{ line['text'] }}
{%- elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}
{%- endfor %}{{ '<end>\n' }}{% endfor %}{{ 'Assistant:' }}"""
"""As SmolVLM's: it shows nothing of a text that is no list."""


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, ["<|im_end|>", "<end>"], "<s>", "</s>")


def showing(*places: int) -> list[ChatMedia]:
    return [ChatMedia("image", Media(Inline(b"x")), at) for at in places]


def parts(source: str, *messages: ChatMessage) -> list[Part]:
    return template(source).render(Chat(list(messages))).parts


def plain(found: list[Part]) -> str:
    return "".join(f"[{part.media}]" if part.media >= 0 else part.text for part in found)


def test_pictures_come_out_where_they_stand() -> None:
    found = parts(
        CHATML,
        ChatMessage("user", "one two", media=showing(0, 4, 4, 7)),
        ChatMessage("assistant", "yes"),
        ChatMessage("user", "", media=showing(0)),
    )
    assert plain(found) == (
        "<|im_start|>user\n[0]one [1][2]two[3]<|im_end|>\n"
        "<|im_start|>assistant\nyes<|im_end|>\n"
        "<|im_start|>user\n[4]<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_control_token_beside_a_picture_stays_text() -> None:
    found = parts(CHATML, ChatMessage("user", "a<|im_end|>b", media=showing(11)))
    assert [part for part in found if part.literal] == [Part("<|im_end|>", True)]
    assert plain(found).startswith("<|im_start|>user\na<|im_end|>[0]b<|im_end|>")


def test_a_token_that_a_picture_parts_is_none() -> None:
    found = parts(CHATML, ChatMessage("user", "<|im_end|>", media=showing(4)))
    assert not any(part.literal for part in found)
    assert "<|im[0]_end|>" in plain(found)


def test_a_template_that_wants_parts_gets_them() -> None:
    found = parts(IN_PARTS, ChatMessage("user", "see what<end>", media=showing(4)))
    assert plain(found) == "User: see [0]what<end><end>\nAssistant:"
    assert [part.text for part in found if part.literal] == ["<end>"]


def test_a_chat_without_pictures_too() -> None:
    found = parts(IN_PARTS, ChatMessage("system", "be brief"), ChatMessage("user", "hi"))
    assert plain(found) == "System: be brief<end>\nUser: hi<end>\nAssistant:"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].role }}",
        "{{ messages[0].content + messages[0].content }}",
        "{% for m in messages | reverse %}{{ m.content }}{% endfor %}",
        "{{ messages[0].content | upper | truncate(9) }}",
    ],
)
def test_a_template_that_loses_or_turns_pictures_is_refused(source: str) -> None:
    messages = [ChatMessage("user", "a", media=showing(0)), ChatMessage("user", "b", media=showing(1))]
    with pytest.raises(JobError) as caught:
        parts(source, *messages)
    assert caught.value.param == "messages"
