"""The four shapes of `input` and `prompt`: a text, texts, token ids, lists of token ids."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw

from backends.protocol import Item, Text, Tokens
from compat.decoding import decode_part
from compat.errors import invalid

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]

T = TypeVar("T")

_text = msgspec.json.Decoder(str)
_texts = msgspec.json.Decoder(list[str])
_tokens = msgspec.json.Decoder(list[TokenId])
_token_lists = msgspec.json.Decoder(list[list[TokenId]])

_SPACE = b" \t\r\n"
_PEEK = 4096


def read_inputs(raw: Raw, param: str, max_items: int, *, allow_empty: bool) -> list[Item]:
    """The items in order. Raises InvalidRequest. `allow_empty`: an empty text is an item like any other."""
    data = bytes(raw)
    items: list[Item]
    match _shape(data):
        case "text":
            items = [Text(decode_part(data, _text, param))]
        case "texts":
            items = [Text(text) for text in decode_part(data, _texts, param)]
        case "tokens":
            items = [Tokens(decode_part(data, _tokens, param))]
        case "token lists":
            items = [Tokens(ids) for ids in decode_part(data, _token_lists, param)]
        case "empty":
            raise invalid(param, "it must not be empty.")
        case _:
            raise invalid(param, "it must be a string, a list of strings, token ids or lists of token ids.")
    if len(items) > max_items:
        raise invalid(param, f"at most {max_items} items, got {len(items)}.")
    for index, item in enumerate(items):
        if (isinstance(item, Tokens) and not item.ids) or (
            isinstance(item, Text) and not item.text and not allow_empty
        ):
            where = f"{param}[{index}]" if len(items) > 1 else param
            raise invalid(where, "it must not be empty.")
    return items


def _shape(data: bytes) -> str:
    """Which of the shapes, from the first signs alone; the decoder then checks the rest."""
    if data.startswith(b'"'):
        return "text"
    if not data.startswith(b"["):
        return "other"
    inner = data[1:_PEEK].lstrip(_SPACE)[:1] or data[1:].lstrip(_SPACE)[:1]
    if inner == b"]":
        return "empty"
    if inner == b'"':
        return "texts"
    return "token lists" if inner == b"[" else "tokens"
