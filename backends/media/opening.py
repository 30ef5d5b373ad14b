"""Opens what a person sent, wherever it lies, as a plain byte stream.

Owns nothing but the file while it is read. Messages never hold a path. Must not know what is in it.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from backends.base import JobError
from backends.protocol import Blob, Inline, LocalFile


@contextmanager
def opened(blob: Blob, unusable: Callable[[str], JobError]) -> Iterator[BinaryIO]:
    """The bytes, from their beginning. Raises what `unusable` makes of a message."""
    match blob:
        case Inline(data):
            file: BinaryIO = io.BytesIO(data)
        case LocalFile(path):
            try:
                file = Path(path).open("rb")  # noqa: SIM115 closed below
            except OSError as error:
                raise unusable("The uploaded file cannot be read.") from error
        case _:
            raise unusable("Files by reference are not taken.")
    with file:
        if not file.read(1):
            raise unusable("The file is empty.")
        file.seek(0)
        yield file
