"""What the fake model reads in a file that it is sent: the bytes as a script, and their hash."""

from hashlib import sha256
from pathlib import Path

from backends.base import JobError
from backends.fake_answers import FakeItem, said
from backends.protocol import Inline, Item, LocalFile, Media

_SCRIPT_BYTES = 1 << 16


def read_script(item: Item, param: str, code: str) -> FakeItem:
    """Raises JobError, with `param` and `code`, for what is no file or is empty."""
    if not isinstance(item, Media):
        raise JobError("only a file can be read", param=param)
    match item.blob:
        case LocalFile(path):
            data = Path(path).read_bytes()
        case Inline(data):
            pass
        case _:
            raise JobError("the file is not here", param=param)
    if not data:
        raise JobError("The file is empty.", param=param, code=code)
    text = data[:_SCRIPT_BYTES].decode("latin-1")
    return FakeItem(text, len(data), said=said(text), digest=sha256(data).hexdigest()[:8])
