"""`/api/v1/vision/caption`, the older route: as `/v1/vision/caption`, but that `model` may be left out."""

import msgspec

from backends.protocol import Media
from compat.decoding import decode
from compat.vision import CaptionForm, CaptionRequest, pictures_in


class CortexCaptionForm(CaptionForm, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text parts of a form; the picture is its part `file`."""

    model: str = ""
    """Absent: the first model that captions."""


class CortexCaptionRequest(CaptionRequest, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str = ""
    """Absent: the first model that captions."""


_decoder = msgspec.json.Decoder(CortexCaptionRequest)


def read_cortex_caption(body: bytes) -> tuple[CaptionForm, list[Media]]:
    """The request and its pictures. Raises InvalidRequest. Takes time in the body's length."""
    request = decode(body, _decoder)
    return request, pictures_in(request.image, request.images)
