"""The values that a refused parameter may have."""

from enum import Enum
from typing import Annotated, Literal

import msgspec
import pytest

from compat.allowed import allowed_values
from compat.decoding import decode
from compat.errors import InvalidRequest


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class TextPart(msgspec.Struct, tag="text"):
    text: str


class ImagePart(msgspec.Struct, tag="image"):
    detail: Literal["low", "high"] | None = None


class Message(msgspec.Struct):
    role: Literal["user", "system"]
    content: str | list[TextPart | ImagePart] = ""


class Request(msgspec.Struct, rename="camel"):
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)] = []
    some_colours: dict[str, Colour] = {}
    effort: Literal["low", "high", 3] | None = None
    later: msgspec.Raw = msgspec.Raw(b"null")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("effort", ["low", "high", "3"]),
        ("messages[0].role", ["user", "system"]),
        ("messages[...].role", ["user", "system"]),
        ("messages[1].content[0].type", ["text", "image"]),
        ("messages[1].content[0].detail", ["low", "high"]),
        ("someColours[...]", ["red", "blue"]),
        ("messages[0].content[0].text", []),
        ("later.role", []),
        ("nothing", []),
        ("", []),
    ],
)
def test_values_by_path(path: str, values: list[str]) -> None:
    assert sorted(allowed_values(Request, path)) == sorted(values)


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (b'{"effort": "huge"}', "effort", ["'low'", "'high'"]),
        (b'{"messages": [{"role": "wizard"}]}', "messages[0].role", ["'user'", "'system'"]),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "smell"}]}]}',
            "messages[0].content[0].type",
            ["'text'", "'image'"],
        ),
    ],
)
def test_a_refusal_lists_them(body: bytes, param: str, said: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(body, msgspec.json.Decoder(Request))
    assert refused.value.param == param
    assert "it must be" in refused.value.message
    assert all(value in refused.value.message for value in said)
