"""Pictures that were asked for by address: files in the spool folder, for a while, within bounds.

Owns the files from the answer that names them until their time is over, others need their room or the spool
ends. A name is the key to its picture: nobody can guess it.
"""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from backends.protocol import PictureFormat
from config.schema import Config
from gateway.engine.errors import BadRequest, NotFound, StorageFailed
from gateway.http.shelf import Shelf

_NAME_BYTES = 24
"""Of randomness in a name."""


class StoredPicture(Struct, frozen=True):
    data: bytes
    form: PictureFormat
    left_s: float
    """For how long it is kept yet."""


class PictureFiles:
    """`folder`: where the files go; None: the system's for temporary files."""

    def __init__(self, config: Config, folder: Path | None) -> None:
        limits = config.limits
        self._shelf = Shelf(limits.picture_file_bytes, limits.picture_files, config.timeouts.picture_file_s)
        self._folder = folder
        self._files: dict[str, tuple[Path, PictureFormat]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, pictures: Sequence[bytes], form: PictureFormat) -> list[str]:
        """Names under which they are to be had from now on. Raises StorageFailed, BadRequest."""
        if not self._shelf.has_room_for([len(data) for data in pictures]):
            raise BadRequest(
                "The pictures are larger than what this server keeps for addresses; ask for b64_json.",
                param="response_format",
                code="pictures_too_large",
            )
        writing = asyncio.ensure_future(asyncio.to_thread(self._write_all, pictures))
        try:
            paths = await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.add_done_callback(_drop)  # nobody will learn the names
            raise
        return [self._put(path, len(data), form) for path, data in zip(paths, pictures, strict=True)]

    async def read(self, name: str) -> StoredPicture:
        """Raises NotFound for what is not kept, or not any more."""
        left_s = self._shelf.left_s(name, _now())
        if left_s:
            path, form = self._files[name]
            with suppress(FileNotFoundError):  # it had to go in this very moment
                return StoredPicture(await asyncio.to_thread(path.read_bytes), form, left_s)
        raise NotFound("There is no such picture, or not any more.")

    def _put(self, path: Path, size_bytes: int, form: PictureFormat) -> str:
        name = f"{secrets.token_urlsafe(_NAME_BYTES)}.{form}"
        self._remove(self._shelf.put(name, size_bytes, _now()))
        self._files[name] = (path, form)
        self._set_timer()
        return name

    def _write_all(self, pictures: Sequence[bytes]) -> list[Path]:
        """All or none. On a thread."""
        paths: list[Path] = []
        try:
            for data in pictures:
                descriptor, path = tempfile.mkstemp(prefix="picture-", dir=self._folder)
                paths.append(Path(path))
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
        except OSError as error:
            _unlink(paths)
            raise StorageFailed(
                f"The picture cannot be stored: {error.strerror or 'no reason given'}."
            ) from None
        return paths

    def _expire(self) -> None:
        self._timer = None
        self._remove(self._shelf.expire(_now()))
        self._set_timer()

    def _set_timer(self) -> None:
        """One, for the oldest: those that come later end later."""
        next_at = self._shelf.next_expiry()
        if self._timer is None and next_at is not None:
            self._timer = asyncio.get_running_loop().call_at(next_at, self._expire)

    def _remove(self, names: Iterable[str]) -> None:
        paths = [self._files.pop(name)[0] for name in names]
        if paths:
            asyncio.get_running_loop().run_in_executor(None, _unlink, paths)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _drop(writing: "asyncio.Future[list[Path]]") -> None:
    if not writing.cancelled() and writing.exception() is None:
        _unlink(writing.result())


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
