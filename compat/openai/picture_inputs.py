"""`input` of an embeddings request to a model that embeds pictures too.

Beside the shapes of texts and tokens: an object `{"image": …}` or `{"text": …}`, a list of these and of
texts, and a data URL in the place of a text.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from backends.protocol import Item, Media, Text
from compat.decoding import decode_part
from compat.errors import invalid, unsupported
from compat.openai.inputs import read_inputs
from compat.pictures import is_data_url, read_pictures


class EmbeddingPart(Struct, frozen=True, forbid_unknown_fields=True):
    """One input, for models that embed pictures: one of the two."""

    image: str | None = None
    """A picture as a data URL or as base64, or its address."""
    text: str | None = None


_part = msgspec.json.Decoder(EmbeddingPart)
_text = msgspec.json.Decoder(str)
_parts = msgspec.json.Decoder(list[str | EmbeddingPart])


def read_picture_inputs(raw: Raw, param: str, max_items: int) -> list[Item]:
    """The items in order. Raises InvalidRequest. Takes time in the length of the pictures."""
    data = bytes(raw)
    first = data[1:].lstrip()[:1] if data.startswith(b"[") else data[:1]
    if first not in (b"{", b'"'):
        return read_inputs(raw, param, max_items, allow_empty=True)
    parts: list[str | EmbeddingPart]
    if data.startswith(b"["):
        parts = decode_part(data, _parts, param)
        paths = [f"{param}[{index}]" for index in range(len(parts))]
    else:
        parts = [decode_part(data, _part, param)] if first == b"{" else [decode_part(data, _text, param)]
        paths = [param]
    if len(parts) > max_items:
        raise invalid(param, f"at most {max_items} items, got {len(parts)}.")
    return _items(parts, paths)


def refuse_pictures(items: Sequence[Item], param: str, model: str) -> None:
    """Raises InvalidRequest for a data URL of a picture, which would be embedded as the letters in it."""
    for index, item in enumerate(items):
        if isinstance(item, Text) and is_data_url(item.text):
            where = f"{param}[{index}]" if len(items) > 1 else param
            raise unsupported(where, f"The model '{model}' embeds texts, no pictures.")


def _items(parts: Sequence[str | EmbeddingPart], paths: Sequence[str]) -> list[Item]:
    """Pictures are read together: they share one limit."""
    items: list[Item | None] = []
    found: list[tuple[str, str]] = []
    for part, path in zip(parts, paths, strict=True):
        text, picture = (part, None) if isinstance(part, str) else (part.text, part.image)
        if (text is None) == (picture is None):
            raise invalid(path, "give one of 'image' and 'text'.")
        if text is not None and is_data_url(text) and isinstance(part, str):
            text, picture = None, text
        if picture is not None:
            found.append((path if isinstance(part, str) else f"{path}.image", picture))
        items.append(None if text is None else Text(text))
    pictures: list[Media] = read_pictures(found)
    following = iter(pictures)
    return [next(following) if item is None else item for item in items]
