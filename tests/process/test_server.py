"""The gateway process from outside: start, signals, death, and what is left of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.gateway_process import GatewayProcess, start, wait_for

MODEL = {"name": "fake", "backend": "fake", "tasks": ["generate"], "source": __file__, "preload": True}


def config(parameters: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    return {"models": [MODEL | {"parameters": parameters or {}}], **sections}


def body(text: str, *, stream: bool = True) -> dict[str, Any]:
    return {"model": "fake", "messages": [{"role": "user", "content": text}], "stream": stream}


def frames(response: httpx.Response) -> Iterator[Any]:
    """What the `data:` lines hold; [DONE] as text."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


def chat(gateway: GatewayProcess, text: str) -> httpx.Response:
    return httpx.post(f"{gateway.base_url}/v1/chat/completions", json=body(text, stream=False), timeout=30)


class Reader:
    """A client in the middle of a stream."""

    def __init__(self, gateway: GatewayProcess, text: str) -> None:
        self._client = httpx.Client(timeout=30)
        self._context = self._client.stream(
            "POST", f"{gateway.base_url}/v1/chat/completions", json=body(text)
        )
        self.response = self._context.__enter__()
        self.frames = frames(self.response)
        next(self.frames)

    def leave(self) -> None:
        self._context.__exit__(None, None, None)
        self._client.close()

    def rest(self) -> list[Any]:
        try:
            return list(self.frames)
        finally:
            self.leave()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess.serving(config({"step_ms": 10, "tokens": 50}), tmp_path) as process:
        yield process.wait_until_ready()


def test_a_worker_killed_in_mid_stream_is_told_in_band_within_a_second(gateway: GatewayProcess) -> None:
    reader = Reader(gateway, "@tokens:5000")
    (worker,) = gateway.worker_pids()
    os.kill(worker, signal.SIGKILL)
    killed_at = time.monotonic()
    *_, last = reader.rest()
    assert time.monotonic() - killed_at < 1
    assert last["error"]["code"] == "worker_died"
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert chat(gateway, "@tokens:2").json()["choices"][0]["message"]["content"] == "w0 w1 "


def test_a_disconnect_frees_the_sequence_within_a_second(gateway: GatewayProcess) -> None:
    reader = Reader(gateway, "@tokens:5000")
    assert gateway.running("fake") == 1
    reader.leave()
    assert wait_for(lambda: gateway.running("fake") == 0, 1) < 1


def test_a_disconnect_without_a_stream_frees_it_too(gateway: GatewayProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{gateway.base_url}/v1/chat/completions", json=body("@tokens:5000", stream=False), timeout=0.5
        )
    wait_for(lambda: gateway.running("fake") == 0, 1)


def test_sigterm_lets_streams_finish_and_refuses_the_rest(gateway: GatewayProcess) -> None:
    """Row 24."""
    readers = [Reader(gateway, "@tokens:100") for _ in range(10)]
    gateway.process.send_signal(signal.SIGTERM)
    wait_for(lambda: gateway.get("/health/ready").status_code == 503, 0.1)
    refused = chat(gateway, "late")
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "shutting_down"
    assert int(refused.headers["retry-after"]) >= 1
    for reader in readers:
        assert reader.rest()[-1] == "[DONE]"
    assert gateway.process.wait(5) == 0


def test_streams_that_outlast_the_drain_end_with_an_error(tmp_path: Path) -> None:
    settings = config({"step_ms": 10}, timeouts={"drain_s": 0.5})
    with GatewayProcess.serving(settings, tmp_path) as gateway:
        gateway.wait_until_ready()
        family = gateway.family()
        reader = Reader(gateway, "@tokens:5000")
        gateway.process.send_signal(signal.SIGTERM)
        *_, last = reader.rest()
        assert last["error"]["code"] == "shutting_down"
        assert gateway.process.wait(5) == 0
        assert not any(map(alive, family))


def test_a_second_signal_forces(gateway: GatewayProcess) -> None:
    family = gateway.family()
    reader = Reader(gateway, "@tokens:5000")
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(1) == 128 + signal.SIGTERM
    wait_for(lambda: not any(map(alive, family)), 2)
    with pytest.raises(httpx.TransportError):
        reader.rest()


def test_a_killed_gateway_leaves_nothing_and_its_port_is_free(tmp_path: Path) -> None:
    """Row 25."""
    with GatewayProcess.serving(config({"step_ms": 10}), tmp_path) as gateway:
        gateway.wait_until_ready()
        reader = Reader(gateway, "@tokens:5000")
        family = gateway.family()
        assert len(family) >= 2, "a worker and its helper"
        gateway.process.kill()
        gateway.process.wait()
        wait_for(lambda: not any(map(alive, family)), 2)
        reader.leave()
        again = config(server={"port": gateway.port})
        with GatewayProcess.serving(again, tmp_path) as restarted:
            assert restarted.port == gateway.port


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    """Row 31."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started_at = time.monotonic()
        process = start(config(), tmp_path, "--port", str(port))
        out, _ = process.communicate(timeout=10)
    assert process.returncode not in (0, None)
    assert time.monotonic() - started_at < 2
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 1, lines
    assert f"127.0.0.1:{port}" in lines[0]
    assert out == ""


def test_the_network_needs_keys(tmp_path: Path) -> None:
    settings = config(auth={"keys_file": str(tmp_path / "none.json")})
    process = start(settings, tmp_path, "--host", "0.0.0.0")
    process.communicate(timeout=10)
    assert process.returncode == 1
    assert "keys create" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("fault", ["garble", "huge", "truncate", "die", "hang"])
def test_faulty_workers_do_not_reach_the_gateway(tmp_path: Path, fault: str) -> None:
    """Rows 3 and 8, over HTTP, with the gateway's own memory in view."""
    with GatewayProcess.serving(config({"step_ms": 5}, timeouts={"step_s": 1}), tmp_path) as gateway:
        gateway.wait_until_ready()
        before = psutil.Process(gateway.process.pid).memory_info().rss
        reader = Reader(gateway, f"@tokens:50 @{fault}:3")
        assert reader.rest()[-1]["error"]["code"] == "worker_died"
        assert chat(gateway, "@tokens:1").status_code == 200
        assert psutil.Process(gateway.process.pid).memory_info().rss - before < 10 * 2**20


def test_our_packages_win_over_the_working_directory(tmp_path: Path) -> None:
    """A user's folder may hold a `config/` and a `torch.py` of its own."""
    (tmp_path / "config").mkdir()
    for name in ("config/__init__.py", "torch.py", "backends.py", "gateway.py", "compat.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')\n")
    with GatewayProcess.serving(config(), tmp_path, cwd=tmp_path) as gateway:
        assert chat(gateway.wait_until_ready(), "@tokens:1").status_code == 200
    names = "gateway, backends, compat, config"
    program = f"import {names}; print(*(module.__file__ for module in ({names})))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", program], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    ours = str(Path(__file__).parents[2])
    assert all(path.startswith(ours) for path in found.stdout.split()), found


def test_an_idle_gateway_is_small(gateway: GatewayProcess) -> None:
    assert chat(gateway, "@tokens:1").status_code == 200
    assert psutil.Process(gateway.process.pid).memory_info().rss < 120 * 10**6
