"""Reads a multipart body: files to the spool folder as they come, texts capped, within the time.

Owns the bytes of an upload and the files made of it, which are gone when the request ends. Must not know
any API's fields, nor what is in a file.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from litestar import Request
from litestar.types import Receive
from msgspec import Struct
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from backends.protocol import LocalFile, Media
from compat.errors import missing
from config.schema import Config
from gateway.engine.errors import BadRequest, BodyTooLarge, StorageFailed, UnsupportedMedia
from gateway.http.body import check_length, check_uncompressed, next_piece, too_large
from gateway.http.ending import at_end

MAX_PARTS = 64
"""Most parts of one body, files and texts together."""
MAX_TEXT_BYTES = 64 * 1024
"""Longest text part."""
_LONGEST_BOUNDARY = 70  # RFC 2046, 5.1.1
_UTF8 = ("utf-8", "utf8", "us-ascii")
_WRITE_BYTES = 1024 * 1024
"""So much of a file is collected before a thread writes it."""
_QUICK_BYTES = 8 * 1024 * 1024
"""Files of a body up to this size are removed where the request ends."""
_MAX_NAME = 200


class UploadedFile(Struct, frozen=True):
    """A file part, whole, in the spool folder."""

    name: str
    """As the client calls it: for messages only, never a path of ours."""
    path: Path
    size_bytes: int


class Form(Struct, frozen=True):
    """What a body held, in its order; a name may stand several times among the texts."""

    texts: list[tuple[str, str]]
    files: dict[str, list[UploadedFile]]

    def media(self, name: str) -> Media:
        """The file of this name as an item of a job. Raises InvalidRequest where there is none."""
        if name not in self.files:
            raise missing(name)
        return _media(self.files[name][0], name)

    def all_media(self, *names: str) -> list[Media]:
        """The files of these names, numbered where there are several. Raises InvalidRequest without any."""
        files = [file for name in names for file in self.files.get(name, [])]
        if not files:
            raise missing(names[0])
        if len(files) == 1:
            return [_media(files[0], names[0])]
        return [_media(file, f"{names[0]}[{index}]") for index, file in enumerate(files)]


def _media(file: UploadedFile, param: str) -> Media:
    return Media(LocalFile(str(file.path)), file.name, param)


async def read_form(
    request: Request[Any, Any, Any],
    config: Config,
    folder: Path | None,
    file_names: Iterable[str],
    repeated: Iterable[str] = (),
) -> Form:
    """The whole body; parts called `file_names` are files, all others texts. Raises GatewayError.

    `repeated`: those of the file names that may stand several times. The files are removed when the request
    ends.
    """
    boundary = _boundary(request.headers)
    check_uncompressed(request.headers)
    cap = config.limits.upload_bytes
    check_length(request.headers, cap)
    reader = _FormReader(boundary, folder, frozenset(file_names), frozenset(repeated))
    at_end(request.scope, reader.remove_files)
    return await reader.read(request.receive, cap, config.timeouts.send_s)


def _boundary(headers: Any) -> str:
    media, options = parse_options_header(headers.get("content-type", ""))
    if media != "multipart/form-data":
        raise UnsupportedMedia("The body must be sent as 'content-type: multipart/form-data'.")
    boundary: str = options.get("boundary", "")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise BadRequest("The content-type header names no sound boundary.", code="invalid_multipart")
    return boundary


class _FormReader:
    """One body on its way."""

    def __init__(
        self, boundary: str, folder: Path | None, file_names: frozenset[str], repeated: frozenset[str]
    ) -> None:
        self._parser = PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
        self._folder = folder
        self._file_names = file_names
        self._repeated = repeated
        self._texts: list[tuple[str, str]] = []
        self._files: dict[str, list[UploadedFile]] = {}
        self._part: _TextPart | _FilePart | None = None
        self._paths: list[Path] = []
        self._received_bytes = 0

    async def read(self, receive: Receive, cap: int, pause_s: float) -> Form:
        try:
            await self._read_all(receive, cap, pause_s)
        except ParserLimitReached as error:
            raise BodyTooLarge(f"The multipart body is over a limit: {_told(error)}.") from None
        except MultipartError as error:
            raise BadRequest(
                f"The body is not valid multipart/form-data: {_told(error)}.", code="invalid_multipart"
            ) from None
        except OSError as error:
            raise StorageFailed(
                f"The upload cannot be stored: {error.strerror or 'no reason given'}."
            ) from None
        finally:
            if isinstance(self._part, _FilePart):
                self._part.close()
        return Form(self._texts, self._files)

    async def _read_all(self, receive: Receive, cap: int, pause_s: float) -> None:
        more = True
        while more:
            piece, more = await next_piece(receive, pause_s)
            self._received_bytes += len(piece)
            if self._received_bytes > cap:
                raise too_large(cap)
            if piece:
                await self._take(piece)
        self._parser.close()

    def remove_files(self) -> None:
        """Large ones on a thread: a file system may take long to free what they held."""
        paths, self._paths = self._paths, []
        if self._received_bytes <= _QUICK_BYTES:
            _remove(paths)
        else:
            asyncio.get_running_loop().run_in_executor(None, _remove, paths)

    async def _take(self, piece: bytes) -> None:
        for event in self._parser.parse(piece):
            if isinstance(event, MultipartSegment):
                self._part = self._opened(event)
            elif self._part is None:
                raise AssertionError("the parser gives a part's data after its head")
            elif event is not None:
                await self._part.take(event)
            else:
                await self._end(self._part)
                self._part = None

    def _opened(self, head: MultipartSegment) -> "_TextPart | _FilePart":
        name = head.name or ""
        if not name or len(name) > _MAX_NAME or not name.isprintable():
            raise BadRequest("A part of the body has no sound name.", code="invalid_multipart")
        if name not in self._file_names:
            if head.filename is not None:
                raise BadRequest(
                    f"'{name}' is not a file of this route.", param=name, code="unknown_parameter"
                )
            return _TextPart(name, head.charset)
        if head.filename is None:
            raise BadRequest(f"'{name}' must be sent as a file.", param=name, code="invalid_type")
        if name in self._files and name not in self._repeated:
            raise BadRequest(f"'{name}' is given twice.", param=name, code="duplicate_parameter")
        return _FilePart(name, head.filename, self._new_file)

    async def _end(self, part: "_TextPart | _FilePart") -> None:
        if isinstance(part, _TextPart):
            self._texts.append((part.name, part.text()))
        else:
            self._files.setdefault(part.name, []).append(await part.end())

    def _new_file(self) -> tuple[int, Path]:
        """A new empty file, open for writing. On a thread; known here before anything is written to it."""
        descriptor, path = tempfile.mkstemp(prefix="upload-", dir=self._folder)
        self._paths.append(Path(path))
        return descriptor, Path(path)


class _TextPart:
    def __init__(self, name: str, charset: str | None) -> None:
        self.name = name
        self._data = bytearray()
        if charset is not None and charset.lower() not in _UTF8:
            raise self._unsound("must be sent as UTF-8")

    async def take(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > MAX_TEXT_BYTES:
            raise BodyTooLarge(f"'{self.name}' is longer than {MAX_TEXT_BYTES} bytes.", param=self.name)

    def text(self) -> str:
        try:
            text = self._data.decode()
        except UnicodeDecodeError:
            raise self._unsound("is not valid UTF-8") from None
        if "\0" in text:
            raise self._unsound("holds a NUL character")
        return text

    def _unsound(self, what: str) -> BadRequest:
        return BadRequest(f"'{self.name}' {what}.", param=self.name, code="invalid_value")


class _FilePart:
    """Bytes are collected and written by threads: a disk may make its caller wait for long."""

    def __init__(self, name: str, filename: str, new_file: Callable[[], tuple[int, Path]]) -> None:
        self.name = name
        self._filename = filename
        self._new_file = new_file
        self._waiting = bytearray()
        self._size_bytes = 0
        self._descriptor = -1
        self._path = Path()

    async def take(self, data: bytes) -> None:
        self._waiting += data
        if len(self._waiting) >= _WRITE_BYTES:
            await _to_its_end(self._write)

    async def end(self) -> UploadedFile:
        await _to_its_end(self._finish)
        name = "".join(filter(str.isprintable, self._filename))[:_MAX_NAME]
        return UploadedFile(name, self._path, self._size_bytes)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self) -> None:
        if self._descriptor < 0:
            self._descriptor, self._path = self._new_file()
        with memoryview(self._waiting) as data:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        self._size_bytes += len(self._waiting)
        self._waiting.clear()

    def _finish(self) -> None:
        self._write()
        self.close()


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


async def _to_its_end(work: Callable[[], None]) -> None:
    """On a thread. A cancelled caller waits too: no file may be made or written after its request's end."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        with suppress(OSError):
            task.result()
        raise


def _told(error: MultipartError) -> str:
    """The parser's own words: they hold nothing that the client sent, but for what follows a colon."""
    text = str(error.args[0]) if error.args else "it cannot be read"
    return text[:1].lower() + text.partition(":")[0][1:]
