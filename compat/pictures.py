"""Pictures and recordings inside a JSON body: data URLs and bare base64, as the bytes that they stand for.

What the bytes are is not looked at here: that is the worker's affair, in a process that may be killed. An
http or https address becomes a Remote without a look at it: whether it is fetched is the gateway's affair.
Must not know HTTP, the engine or configuration.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence

from backends.protocol import MAX_FRAME_BYTES, Inline, Media, Remote
from compat.errors import InvalidRequest, invalid, unsupported

MAX_BYTES = MAX_FRAME_BYTES * 3 // 4
"""Of all pictures and recordings of one body together: they travel to the worker in one frame."""
_DATA_URL = re.compile(r"data:(?P<media>[^,;]{0,100})(?:;[^,;]{0,100})*?(?P<base64>;base64)?,", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:")
_FETCHABLE = re.compile(r"https?:", re.IGNORECASE)
_SEND_IT = "send the picture itself, as a data URL (data:image/png;base64,...) or as base64."
_PICTURES = ("image/", "application/octet-stream")


class MediaReader:
    """Reads one by one what stands in a request; all together are bounded. Takes time in their length."""

    def __init__(self) -> None:
        self._size = 0

    def picture(self, param: str, text: str) -> Media:
        """Raises InvalidRequest. An http or https address comes back as a Remote."""
        if _FETCHABLE.match(text):
            return Media(Remote(text), param=param)
        return self._media(param, _decode(text, param), "image_too_large")

    def recording(self, param: str, text: str) -> Media:
        """Raises InvalidRequest."""
        return self._media(param, _base64(text, param, "a recording as base64"), "audio_too_large")

    def _media(self, param: str, data: bytes, code: str) -> Media:
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise InvalidRequest(
                f"The pictures and recordings of a request may have {MAX_BYTES} bytes together; "
                "send larger ones as files.",
                param,
                code,
            )
        return Media(Inline(data), param=param)


def read_pictures(texts: Iterable[tuple[str, str]]) -> list[Media]:
    """One item for each parameter's path and text. Raises InvalidRequest. Takes time in the texts' length."""
    reader = MediaReader()
    return [reader.picture(param, text) for param, text in texts]


def room_left(pictures: Sequence[Media]) -> int:
    """Bytes that those yet to be fetched may have, beside those that are here."""
    return MAX_BYTES - sum(len(one.blob.data) for one in pictures if isinstance(one.blob, Inline))


def not_taken(param: str) -> InvalidRequest:
    """Addresses are not fetched by this server."""
    return unsupported(
        param, f"Addresses are not fetched by this server (setting 'remote_images.allowed'): {_SEND_IT}"
    )


def not_fetched(param: str) -> InvalidRequest:
    """Whatever went wrong with an address: the reason would tell what there is around this server."""
    return InvalidRequest(
        f"The picture cannot be fetched from its address: {_SEND_IT}", param, "image_not_fetched"
    )


def is_data_url(text: str) -> bool:
    """Whether a text is meant to be a picture rather than to be read."""
    return text[:11].lower() == "data:image/"


def _decode(text: str, param: str) -> bytes:
    start = 0
    if match := _DATA_URL.match(text):
        if not match["base64"]:
            raise invalid(param, "the data URL must be base64.")
        if match["media"] and not match["media"].lower().startswith(_PICTURES):
            raise invalid(param, "the data URL is of no picture.")
        start = match.end()
    elif _ADDRESS.match(text):
        raise unsupported(param, f"Addresses of this kind are not fetched: {_SEND_IT}")
    return _base64(text[start:], param, "a picture as a data URL or as base64")


def _base64(text: str, param: str, what: str) -> bytes:
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise invalid(param, f"it must be {what}.") from None
    if not data:
        raise invalid(param, "it must not be empty.")
    return data
