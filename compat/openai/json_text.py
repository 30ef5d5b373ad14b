"""JSON that a request carries and a worker reads: checked for its outer shape here, kept as text.

Must not judge a schema's keywords: what a grammar engine honours is known in the worker only.
"""

from typing import Any

import msgspec
from msgspec import Raw

from compat.decoding import decode_part
from compat.errors import invalid
from compat.scan import holds_nul

MAX_BYTES = 64 * 1024
"""Length of one schema, regular expression or grammar."""

_object = msgspec.json.Decoder(dict[str, Any])


def object_text(raw: Raw | bytes, param: str) -> str:
    """A JSON object as the client wrote it, so that the order of its keys stays. Raises InvalidRequest."""
    data = bytes(raw)
    check_size(len(data), param)
    decode_part(data, _object, param)
    if holds_nul(data):
        raise invalid(param, "it holds a NUL character.")
    return data.decode()


def check_size(size_bytes: int, param: str) -> None:
    if size_bytes > MAX_BYTES:
        raise invalid(param, f"at most {MAX_BYTES} bytes, got {size_bytes}.")
