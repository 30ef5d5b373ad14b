"""More connections than there may be, and clients that never come to the point.

Thousands of idle streams are in tests/faults/idle.py.
"""

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.gateway_process import GatewayProcess, wait_for

MODEL = {
    "name": "fake",
    "backend": "fake",
    "tasks": ["generate"],
    "source": __file__,
    "parameters": {"tokens": 1_000_000, "step_ms": 200, "max_sequences": 4000},
    "preload": True,
}
BODY = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "x"}], "stream": True}).encode()
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


@contextlib.contextmanager
def serving(
    folder: Path, limits: dict[str, Any], head_s: float = 30, **more: Any
) -> Iterator[GatewayProcess]:
    config = {"models": [MODEL], "limits": limits, "timeouts": {"keepalive_s": 1000, "head_s": head_s}}
    with GatewayProcess.serving(config, folder, **more) as gateway:
        yield gateway.wait_until_ready()


@contextlib.contextmanager
def connected(gateway: GatewayProcess, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
            for _ in range(count)
        ]


def answer(sock: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            data += part
    return data


def test_more_connections_than_allowed_are_refused_and_health_answers(tmp_path: Path) -> None:
    with serving(tmp_path, {"connections": 20}) as gateway, connected(gateway, 20) as streams:
        for stream in streams:
            stream.sendall(REQUEST)
        assert all(stream.recv(12) == b"HTTP/1.1 200" for stream in streams)
        with httpx.Client(base_url=gateway.base_url) as client:
            refused = client.get("/v1/models")
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "too_many_connections"
            assert int(refused.headers["retry-after"]) >= 1
            assert client.get("/health/live").status_code == 200
        assert gateway.metric("refusals_total", reason="too_many_connections") == 1
        for stream in streams:
            stream.close()
        wait_for(lambda: gateway.get("/v1/models").status_code == 200, 10)


def test_a_head_that_never_ends_costs_its_connection(tmp_path: Path) -> None:
    with serving(tmp_path, {}, head_s=2) as gateway, connected(gateway, 3) as (silent, slow, whole):
        slow.sendall(b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        whole.sendall(REQUEST)
        began_at = time.monotonic()
        while time.monotonic() - began_at < 1.5:
            slow.sendall(b"x-more: 1\r\n")
            time.sleep(0.1)
        assert answer(slow) == answer(silent) == b""
        assert time.monotonic() - began_at < 10
        came = b""
        while b"w1 " not in came and (more := whole.recv(65536)):
            came += more
        assert b"w1 " in came, "a stream lasts as long as it lasts"


def test_a_head_without_end_is_refused_by_its_size(tmp_path: Path) -> None:
    start = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    chunked = start.replace(b"GET", b"POST") + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    with serving(tmp_path, {}) as gateway, connected(gateway, 4) as (endless, many, large, trailing):
        endless.sendall(start + b"x-more: ")
        many.sendall(start)
        for _ in range(65):  # as it passes the bound nothing is left unread, so that the answer arrives
            time.sleep(0.01)
            endless.sendall(b"x" * 1000)
            many.sendall(b"x-more: 1\r\n" * 91)
        endless.sendall(b"x" * 1000)
        many.sendall(b"x-more: 1\r\n" * 91)
        large.sendall(start + b"x-more: %b\r\n\r\n" % (b"x" * 70_000))
        for sock in (endless, many, large):
            head, _, body = answer(sock).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
            assert json.loads(body)["error"]["code"] == "request_head_too_large"
        trailing.sendall(chunked + b"x-more: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                time.sleep(0.01)
                trailing.sendall(b"x" * 1000)
        assert b"431" not in answer(trailing), "it has its answer already"


def test_long_bodies_and_many_requests_are_no_large_head(tmp_path: Path) -> None:
    with serving(tmp_path, {}) as gateway, connected(gateway, 2) as (long, many):
        long.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: 300000\r\n\r\n" + b" " * 300_000
        )
        assert answer(long).startswith(b"HTTP/1.1 400 ")
        for _ in range(40):
            request = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\nx-more: %b\r\n\r\n" % (b"x" * 4000)
            many.sendall(request[:2000])
            time.sleep(0.01)
            many.sendall(request[2000:])
            came = b""
            while not came.endswith(b"}") and (more := many.recv(65536)):
                came += more
            assert came.startswith(b"HTTP/1.1 200 ")


def test_few_file_descriptors_shed_load_without_spinning(tmp_path: Path) -> None:
    """Row 30."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with serving(tmp_path, {}, head_s=1, preexec_fn=few) as gateway:
        process = psutil.Process(gateway.process.pid)
        before = process.num_fds()
        with connected(gateway, 200) as flood:
            for sock in flood[:3]:
                sock.sendall(REQUEST)
            for sock in flood[-20:]:
                assert answer(sock).startswith((b"HTTP/1.1 503", b""))
            refusals = [answer(sock) for sock in flood[100:180]]
            assert any(b"too_many_connections" in text and b"retry-after" in text for text in refusals)
            busy_before = sum(process.cpu_times()[:2])
            time.sleep(1)
            assert sum(process.cpu_times()[:2]) - busy_before < 0.5
            assert process.num_fds() < 64
        wait_for(lambda: gateway.get("/v1/models").status_code == 200, 5)
        wait_for(lambda: process.num_fds() <= before + 5, 5)
