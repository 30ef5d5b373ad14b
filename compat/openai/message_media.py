"""Pictures and sound in the messages of a chat: parts of a content list as media, and back to whom they go.

A part is first taken as it is, its bytes still the text of the request: whether the model takes such parts
decides what a refusal says. `read_media` then reads them all, of one request together. Must not know HTTP,
the engine or configuration.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from backends.protocol import Chat, ChatMedia, Description, Media, Remote
from compat.decoding import decode_part
from compat.errors import invalid, missing, unsupported
from compat.openai.raw import ABSENT, is_given
from compat.pictures import MediaReader


class ContentPart(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a message: text, and for models that take them pictures and sound."""

    type: str
    text: str | None = None
    refusal: str | None = None
    prompt_cache_breakpoint: Raw = ABSENT
    """Accepted: a hint that changes no answer."""
    image_url: Raw = ABSENT
    input_audio: Raw = ABSENT
    file: Raw = ABSENT


class ImageUrl(Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    """A data URL; an http or https address only where the server's configuration allows it."""
    detail: Literal["auto", "low", "high"] | None = None
    """How closely the picture is to be looked at. A captioner brings all to the one size that it sees."""


class InputAudio(Struct, frozen=True, forbid_unknown_fields=True):
    data: str
    """The recording as base64."""
    format: Literal["wav", "mp3"]


class MediaPart(Struct, frozen=True):
    part: ContentPart
    path: str


_image_url = msgspec.json.Decoder(ImageUrl)
_input_audio = msgspec.json.Decoder(InputAudio)
_NAMES = {"image": "image_url", "audio": "input_audio"}


def image_url_of(part: ContentPart, path: str) -> ImageUrl:
    """Raises InvalidRequest."""
    if not is_given(part.image_url):
        raise missing(f"{path}.image_url")
    return decode_part(bytes(part.image_url), _image_url, f"{path}.image_url")


def unread_media(found: MediaPart, at: int) -> ChatMedia:
    """A part as it came: `read_media` makes bytes of it. Raises InvalidRequest for one of a wrong shape."""
    part, path = found.part, found.path
    if part.type == "image_url":
        image = image_url_of(part, path)
        media = Media(Remote(image.url), param=f"{path}.image_url.url")
        return ChatMedia("image", media, at, image.detail or "auto")
    if not is_given(part.input_audio):
        raise missing(f"{path}.input_audio")
    audio = decode_part(bytes(part.input_audio), _input_audio, f"{path}.input_audio")
    return ChatMedia("audio", Media(Remote(audio.data), param=f"{path}.input_audio.data"), at)


def has_media(chat: Chat) -> bool:
    return any(message.media for message in chat.messages)


def check_media(chat: Chat, model: str, description: Description) -> None:
    """Raises InvalidRequest for a part that the model does not take, and for too many."""
    most = description.limits.get("media")
    for count, one in enumerate(_media(chat), 1):
        param = one.media.param.rpartition(f".{_NAMES[one.kind]}")[0]
        if one.kind not in description.parameters:
            taken = [kind for kind in _NAMES if kind in description.parameters]
            only = f"text and {taken[0]} are" if taken else "only text is"
            raise unsupported(
                param,
                f"Content of the type '{_NAMES[one.kind]}' is not supported by the model '{model}': {only}.",
            )
        if most is not None and count > most:
            raise invalid(param, f"the model takes at most {most} pictures and recordings a request.")


def read_media(chat: Chat) -> Chat:
    """The conversation with the bytes of its media; addresses of pictures stay. Raises InvalidRequest.

    Takes time in their length: large ones belong on a thread.
    """
    reader = MediaReader()
    messages = [
        replace(message, media=[_read(one, reader) for one in message.media]) if message.media else message
        for message in chat.messages
    ]
    return replace(chat, messages=messages)


def media_in(chat: Chat) -> list[Media]:
    """All pictures and recordings, in their order."""
    return [one.media for one in _media(chat)]


def with_media(chat: Chat, media: Sequence[Media]) -> Chat:
    """The conversation with `media` in the places of those that `media_in` gives."""
    following = iter(media)
    messages = [
        replace(message, media=[replace(one, media=next(following)) for one in message.media])
        for message in chat.messages
    ]
    return replace(chat, messages=messages)


def _read(one: ChatMedia, reader: MediaReader) -> ChatMedia:
    blob = one.media.blob
    assert isinstance(blob, Remote)
    if one.kind == "image":
        return replace(one, media=reader.picture(one.media.param, blob.ref))
    return replace(one, media=reader.recording(one.media.param, blob.ref))


def _media(chat: Chat) -> Iterator[ChatMedia]:
    for message in chat.messages:
        yield from message.media
