"""Hostile and broken uploads over a raw socket, to a gateway process: refused, with nothing left behind."""

import contextlib
import gzip
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.gateway_process import GatewayProcess, wait_for

CAP = 20_000_000
HEAD = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=xyz\r\n"
)
MODEL = b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nparrot\r\n'
FILE = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
END = b"\r\n--xyz--\r\n"


class Server(GatewayProcess):
    spool: Path

    def left(self) -> list[str]:
        """Files in the spool folder, workers' folders aside."""
        (folder,) = self.spool.iterdir()
        return [name for name in os.listdir(folder) if not name.startswith("llm-cortex-worker-")]

    def wait_until_nothing_is_left(self) -> None:
        """The last byte of an answer goes out a moment before its request ends."""
        wait_for(lambda: self.left() == [], 10)

    def rss_bytes(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            yield sock


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("gateway")
    spec = {"name": "parrot", "backend": "fake", "tasks": ["transcribe"], "source": ".", "preload": True}
    config: dict[str, Any] = {
        "models": [spec | {"parameters": {"tokens": 4}}],
        "paths": {"spool_dir": str(folder / "spool")},
        "limits": {"upload_bytes": CAP},
        "timeouts": {"send_s": 4.0},
    }
    with Server.serving(config, folder) as process:
        assert isinstance(process, Server)
        process.spool = folder / "spool"
        process.wait_until_ready()
        yield process


def status_of(sock: socket.socket) -> int:
    """Of the answer; 0 if the connection was closed without one."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while b"\r\n" not in data and (part := sock.recv(4096)):
            data += part
    return int(data.split()[1]) if data else 0


def flood(sock: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send until all is gone or the server has closed."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for piece in pieces:
            sock.sendall(piece)


def chunked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def gigabyte() -> Iterator[bytes]:
    yield MODEL + FILE
    for _ in range(1 << 10):
        yield b"x" * (1 << 20)
    yield END


def test_a_gigabyte_in_chunks_is_refused_in_bounded_memory(gateway: Server) -> None:
    before = gateway.rss_bytes()
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        flood(sock, chunked(gigabyte()))
        assert status_of(sock) == 413
    assert gateway.rss_bytes() - before < 2 * CAP
    gateway.wait_until_nothing_is_left()


def test_a_gigabyte_that_is_announced_is_refused_before_it_comes(gateway: Server) -> None:
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1 << 30))
        assert status_of(sock) == 413


def test_a_length_that_is_too_short_cuts_the_body(gateway: Server) -> None:
    body = MODEL + FILE + b"sound" + END
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) - 10) + body)
        assert status_of(sock) == 400
    gateway.wait_until_nothing_is_left()


def test_a_length_that_is_too_long_is_waited_for_but_not_for_ever(gateway: Server) -> None:
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + MODEL + FILE + b"sound")
        assert status_of(sock) == 408
    gateway.wait_until_nothing_is_left()


def test_a_gzip_bomb_stays_packed(gateway: Server) -> None:
    body = gzip.compress(MODEL + FILE + bytes(100_000_000) + END)
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert status_of(sock) == 415


def test_ten_thousand_parts(gateway: Server) -> None:
    body = MODEL * 10_000 + END
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        flood(sock, iter([body]))
        assert status_of(sock) == 413
    gateway.wait_until_nothing_is_left()


def test_the_largest_upload_is_heard(gateway: Server) -> None:
    files = {"file": ("a", b"x" * (CAP - 1000))}
    url = f"{gateway.base_url}/v1/audio/transcriptions"
    assert httpx.post(url, data={"model": "parrot"}, files=files, timeout=30).status_code == 200
    gateway.wait_until_nothing_is_left()


def abandon(gateway: Server, number: int) -> None:
    """One upload that its client gives up: on the way, or while the file is being heard."""
    body = MODEL + FILE + b"@tokens:10000 @slow:20 " + b"x" * (50_000 * (number % 30)) + END
    sent = len(body) * (number % 5) // 4
    with gateway.connected() as sock:
        sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:sent])
        if number % 3 == 0:  # a reset instead of an orderly end
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_a_storm_of_given_up_uploads_leaves_nothing(gateway: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(abandon, gateway, number) for number in range(300)]:
            done.result()
    wait_for(lambda: gateway.left() == [] and gateway.running("parrot") == 0, 15)
    process = psutil.Process(
        gateway.process.pid
    )  # files are closed on a thread, after they have been removed
    wait_for(lambda: not [file for file in process.open_files() if "upload-" in file.path], 5)
    test_the_largest_upload_is_heard(gateway)


def test_a_killed_worker_leaves_no_folder(gateway: Server) -> None:
    def folders() -> set[str]:
        (folder,) = gateway.spool.iterdir()
        return {name for name in os.listdir(folder) if name.startswith("llm-cortex-worker-")}

    (folder,) = gateway.spool.iterdir()
    (before,) = folders()
    (folder / before / "left-over").write_bytes(b"x")
    (pid,) = gateway.worker_pids()
    assert psutil.Process(pid).environ()["TMPDIR"] == str(folder / before)
    psutil.Process(pid).kill()
    wait_for(lambda: before not in folders(), 10)
    gateway.wait_until_ready()


def test_a_killed_gateway_is_cleaned_up_after(tmp_path: Path) -> None:
    spec = {"name": "parrot", "backend": "fake", "tasks": ["transcribe"], "source": ".", "preload": True}
    config: dict[str, Any] = {"models": [spec], "paths": {"spool_dir": str(tmp_path / "spool")}}
    with GatewayProcess.serving(config, tmp_path) as first:
        first.wait_until_ready()
        family = first.family()
        first.process.kill()
        first.process.wait()
        psutil.wait_procs(family, 5)
    (left,) = (tmp_path / "spool").iterdir()
    with GatewayProcess.serving(config, tmp_path):
        assert not left.exists()
        assert len(list((tmp_path / "spool").iterdir())) == 1
    assert list((tmp_path / "spool").iterdir()) == []
