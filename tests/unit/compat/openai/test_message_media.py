"""Pictures and sound in messages: where they stand, who takes them, what they hold."""

import base64
from typing import Any

import pytest

from backends.protocol import ChatMedia, ChatMessage, Description, Inline, Media
from compat.errors import InvalidRequest
from compat.openai.message_media import check_media, has_media, read_media
from compat.pictures import MAX_BYTES
from tests.unit.compat.openai.asking import NOTHING, chat

DATA = base64.b64encode(b"dots").decode()
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}", "detail": "low"}}
SOUND = {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}
SEES = Description(tasks=["generate"], parameters=["image"], limits={"media": 2})
HEARS = Description(tasks=["generate"], parameters=["image", "audio"])


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def test_every_part_keeps_its_place() -> None:
    read = read_media(chat(messages=[user(text("a"), text("b"), PICTURE, text("c"), SOUND, PICTURE)]))
    assert read.messages == [
        ChatMessage(
            "user",
            "a\nbc",
            media=[
                ChatMedia("image", media("[2].image_url.url"), 3, "low"),
                ChatMedia("audio", media("[4].input_audio.data"), 4),
                ChatMedia("image", media("[5].image_url.url"), 4, "low"),
            ],
        )
    ]


def media(place: str) -> Media:
    return Media(Inline(b"dots"), param=f"messages[0].content{place}")


def test_text_alone_holds_no_media() -> None:
    assert not has_media(chat(messages=[user(text("a"))]))
    assert has_media(chat(messages=[user(text("a"), SOUND)]))


@pytest.mark.parametrize(
    ("description", "parts", "param"),
    [
        (NOTHING, [PICTURE], "messages[0].content[0]"),
        (NOTHING, [text("a"), SOUND], "messages[0].content[1]"),
        (SEES, [PICTURE, SOUND], "messages[0].content[1]"),
        (SEES, [PICTURE, PICTURE, PICTURE], "messages[0].content[2]"),
    ],
)
def test_what_the_model_does_not_take_is_named(
    description: Description, parts: list[dict[str, Any]], param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_media(chat(messages=[user(*parts)]), "m", description)
    assert caught.value.param == param


def test_what_the_model_takes_is_let_through() -> None:
    check_media(chat(messages=[user(PICTURE, PICTURE)]), "m", SEES)
    check_media(chat(messages=[user(PICTURE, SOUND)]), "m", HEARS)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": {"url": 1}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "a", "detail": "most"}}, "image_url.detail"),
        ({"type": "input_audio"}, "input_audio"),
        ({"type": "input_audio", "input_audio": {"data": DATA}}, "input_audio.format"),
        ({"type": "input_audio", "input_audio": {"data": DATA, "format": "flac"}}, "input_audio.format"),
        ({"type": "input_audio", "input_audio": {"data": "!", "format": "mp3"}}, "input_audio.data"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}, "input_audio.data"),
        ({"type": "image_url", "image_url": {"url": "ftp://example.com/a.png"}}, "image_url.url"),
        ({"type": "file", "file": {}}, ""),
    ],
)
def test_a_broken_part_is_named(part: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_media(chat(messages=[user(text("a"), part)]))
    assert caught.value.param == f"messages[0].content[1].{param}".rstrip(".")


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_show_something(role: str) -> None:
    with pytest.raises(InvalidRequest, match="only text is"):
        chat(messages=[{"role": role, "content": [PICTURE]}])


def test_all_media_of_a_request_share_one_bound() -> None:
    half = base64.b64encode(bytes(MAX_BYTES // 2 + 1)).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": half}},
        {"type": "input_audio", "input_audio": {"data": half, "format": "wav"}},
    ]
    with pytest.raises(InvalidRequest) as caught:
        read_media(chat(messages=[user(*parts)]))
    assert (caught.value.code, caught.value.param) == (
        "audio_too_large",
        "messages[0].content[1].input_audio.data",
    )
