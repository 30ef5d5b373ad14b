"""Multipart bodies: what is read, what is refused, and that no file outlives its request."""

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Request

from backends.protocol import Job, Media
from config.schema import Config, LimitsConfig, TimeoutsConfig
from gateway.engine.errors import BodyTimeout, ModelFailed
from gateway.engine.stream import JobStream
from gateway.http import uploads
from gateway.http.disconnect import ClientGone
from gateway.http.ending import run_endings
from gateway.http.uploads import MAX_PARTS, MAX_TEXT_BYTES, read_form
from tests.unit.gateway.http.fakes import Site, assert_envelope, failure, open_site

URL = "/v1/audio/transcriptions"
TYPE = "multipart/form-data; boundary=xyz"


def part(name: str, data: bytes, *, filename: str | None = None, media: str = "") -> bytes:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename is not None else "")
    kind = f"Content-Type: {media}\r\n" if media else ""
    return f"--xyz\r\nContent-Disposition: {disposition}\r\n{kind}\r\n".encode() + data + b"\r\n"


END = b"--xyz--\r\n"
MODEL = part("model", b"parrot")
FILE = part("file", b"sound", filename="a.wav")
GOOD = MODEL + FILE + END


async def post(site: Site, body: Any, **headers: str) -> Any:
    return await site.client.post(URL, content=body, headers={"content-type": TYPE} | headers)


def left(site: Site) -> list[str]:
    return os.listdir(site.spool)


async def test_a_file_lies_in_the_spool_folder_as_long_as_its_request(site: Site) -> None:
    response = await post(site, GOOD)
    assert response.status_code == 200, response.text
    job, _ = site.engine.jobs[0]
    (item,) = job.items
    assert isinstance(item, Media)
    assert item.name == "a.wav"
    assert Path(item.blob.path).parent == site.spool  # type: ignore[union-attr]
    assert site.engine.recordings == [b"sound"]
    assert left(site) == []


async def test_any_cut_of_the_body_is_the_same_form(site: Site) -> None:
    data = bytes(range(256)) * 9 + b"\r\n--xy\r\n--xyq\r\n" * 3
    body = part("prompt", "Grüße\r\n".encode()) + MODEL + part("file", data, filename="a") + END

    async def cut(size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    for size in (1, 2, 3, 7, 50, 1000):
        response = await post(site, cut(size))
        assert response.status_code == 200, response.text
        assert site.engine.recordings[-1] == data
        assert site.engine.jobs[-1][0].parameters.prompt == "Grüße\r\n"  # type: ignore[union-attr]


async def test_a_large_file_arrives_whole(site: Site) -> None:
    data = os.urandom(1 << 20) * 3 + b"end"
    assert (await post(site, MODEL + part("file", data, filename="a") + END)).status_code == 200
    assert site.engine.recordings == [data]
    assert left(site) == []


REFUSED: dict[str, tuple[bytes, int, str | None]] = {
    "nothing": (b"", 400, None),
    "no parts": (END, 400, "model"),
    "no end": (MODEL + FILE, 400, None),
    "half a head": (MODEL + b"--xyz\r\nContent-Disp", 400, None),
    "other boundary": (GOOD.replace(b"xyz", b"abc"), 400, None),
    "JSON": (b'{"model":"parrot"}', 400, None),
    "no model": (FILE + END, 400, "model"),
    "no file": (MODEL + END, 400, "file"),
    "file as text": (MODEL + part("file", b"sound") + END, 400, "file"),
    "text as file": (FILE + part("model", b"parrot", filename="m") + END, 400, "model"),
    "two files": (MODEL + FILE + FILE + END, 400, "file"),
    "two models": (MODEL + MODEL + FILE + END, 400, "model"),
    "no name": (MODEL + FILE + part("", b"x") + END, 400, None),
    "no disposition": (MODEL + b"--xyz\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, 400, None),
    "bad UTF-8": (part("prompt", b"\xff\xfe") + GOOD, 400, "prompt"),
    "bad UTF-8 in a head": (
        b'--xyz\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n' + GOOD,
        400,
        None,
    ),
    "bogus charset": (part("prompt", b"x", media="text/plain; charset=klingon") + GOOD, 400, "prompt"),
    "other charset": (part("prompt", b"x", media="text/plain; charset=utf-16") + GOOD, 400, "prompt"),
    "NUL": (part("prompt", b"a\0b") + GOOD, 400, "prompt"),
    "unknown field": (part("vad_filter", b"true") + GOOD, 400, "vad_filter"),
    "unknown file": (part("other", b"x", filename="x") + GOOD, 400, "other"),
    "no number": (part("temperature", b"warm") + GOOD, 400, "temperature"),
    "not a number": (part("temperature", b"nan") + GOOD, 400, "temperature"),
    "long number": (part("seed", b"9" * 5000) + GOOD, 400, "seed"),
    "long text": (part("prompt", b"x" * (MAX_TEXT_BYTES + 1)) + GOOD, 413, "prompt"),
    "10,000 parts": (part("include[]", b"logprobs") * 10_000 + GOOD, 413, None),
    "many parts": (part("include[]", b"logprobs") * MAX_PARTS + GOOD, 413, None),
    "long head": (b"--xyz\r\n" + b"A: " + b"x" * 5000 + b"\r\n\r\n" + GOOD, 413, None),
    "endless head": (b"--xyz\r\n" + b"x" * 100_000, 413, None),
    "many heads": (b"--xyz\r\n" + b"A: x\r\n" * 1000 + b"\r\n" + GOOD, 413, None),
}


@pytest.mark.parametrize(("body", "status", "param"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_cannot_be_read_is_refused_and_leaves_nothing(
    site: Site, body: bytes, status: int, param: str | None
) -> None:
    error = assert_envelope(await post(site, body), status, param)
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 400
    assert site.engine.jobs == []
    assert left(site) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/mixed; boundary=xyz"}, 415),
        ({"content-type": "multipart/form-data"}, 400),
        ({"content-type": "multipart/form-data; boundary="}, 400),
        ({"content-type": f"multipart/form-data; boundary={'x' * 71}"}, 400),
        ({"content-encoding": "gzip"}, 415),
        ({"content-length": "-1"}, 400),
        ({"content-length": "9" * 30}, 413),
        ({"content-length": str(1 << 30)}, 413),
    ],
)
async def test_a_head_that_says_too_much_or_too_little(
    site: Site, headers: dict[str, str], status: int
) -> None:
    assert_envelope(await post(site, GOOD, **headers), status)
    assert left(site) == []


async def test_a_body_over_the_cap_is_refused_while_it_comes(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield MODEL + FILE[: FILE.index(b"sound")]
        while sent < 1 << 30:
            sent += 1 << 16
            yield b"x" * (1 << 16)

    async with open_site(tmp_path / "keys.json", limits=LimitsConfig(upload_bytes=5_000_000)) as site:
        assert_envelope(await post(site, endless()), 413)
        assert left(site) == []
    assert sent < 5_200_000


async def test_a_very_large_file_goes_too(site: Site) -> None:
    assert (await post(site, MODEL + part("file", bytes(9 << 20), filename="a") + END)).status_code == 200
    await asyncio.get_running_loop().shutdown_default_executor()
    assert left(site) == []


async def test_a_failed_job_leaves_no_file(site: Site) -> None:
    site.engine.script = failure(ModelFailed("no"))
    assert_envelope(await post(site, GOOD), 503)
    assert site.engine.recordings == [b"sound"]
    assert left(site) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
async def test_a_full_disk_is_told(site: Site, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: Any) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(uploads.os, "write", full)
        error = assert_envelope(await post(site, GOOD), 503)
    assert error["code"] == "storage_failed"
    assert left(site) == []


async def test_a_spool_folder_that_is_gone_is_told(site: Site) -> None:
    site.spool.rmdir()
    error = assert_envelope(await post(site, GOOD), 503)
    assert str(site.spool) not in error["message"]


async def test_an_upload_is_readable_by_its_owner_only(site: Site) -> None:
    modes = []

    def look(job: Job, stream: JobStream) -> None:
        modes.append(stat.S_IMODE(os.stat(job.items[0].blob.path).st_mode))  # type: ignore[union-attr]
        stream.fail(ModelFailed("seen"))

    site.engine.script = look
    await post(site, GOOD)
    assert modes == [0o600]


# --- clients that stop -----------------------------------------------------------------------------------


class Sender:
    """A client that sends these messages and then nothing."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = list(messages)
        self.silent = asyncio.Event()
        self.request: Request[Any, Any, Any] = Request(
            {"type": "http", "headers": [(b"content-type", TYPE.encode())], "litestar_app": None},  # type: ignore[arg-type]
            self.receive,  # type: ignore[arg-type]
        )

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        self.silent.set()
        await asyncio.Event().wait()
        raise AssertionError


def piece(data: bytes) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": True}


BEGUN = [piece(MODEL + FILE[: FILE.index(b"sound")]), piece(b"x" * (2 << 20))]


async def test_a_client_that_leaves_in_the_middle(tmp_path: Path) -> None:
    sender = Sender(*BEGUN, {"type": "http.disconnect"})
    with pytest.raises(ClientGone):
        await read_form(sender.request, Config(), tmp_path, ["file"])
    assert len(os.listdir(tmp_path)) == 1
    run_endings(sender.request.scope)
    assert os.listdir(tmp_path) == []


async def test_a_client_that_pauses_for_too_long(tmp_path: Path) -> None:
    sender = Sender(*BEGUN)
    with pytest.raises(BodyTimeout):
        await read_form(sender.request, Config(timeouts=TimeoutsConfig(send_s=0.01)), tmp_path, ["file"])
    run_endings(sender.request.scope)
    assert os.listdir(tmp_path) == []


async def test_a_cancelled_request(tmp_path: Path) -> None:
    sender = Sender(*BEGUN)
    task = asyncio.ensure_future(read_form(sender.request, Config(), tmp_path, ["file"]))
    await sender.silent.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    run_endings(sender.request.scope)
    assert os.listdir(tmp_path) == []


async def test_a_request_that_is_cancelled_while_a_thread_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, writing, told = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    write = os.write

    def slow(descriptor: int, data: Any) -> int:
        loop.call_soon_threadsafe(writing.set)
        asyncio.run_coroutine_threadsafe(told.wait(), loop).result(10)
        return write(descriptor, data)

    monkeypatch.setattr(uploads.os, "write", slow)
    sender = Sender(*BEGUN)
    task = asyncio.ensure_future(read_form(sender.request, Config(), tmp_path, ["file"]))
    await writing.wait()
    task.cancel()
    loop.call_soon(told.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    run_endings(sender.request.scope)
    assert os.listdir(tmp_path) == []
