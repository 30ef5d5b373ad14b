"""The gateway process from outside: start, signals, death, and what is left of it."""

import json
import subprocess
import sys
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


def test_a_disconnect_frees_the_sequence_long_before_its_end(gateway: GatewayProcess) -> None:
    reader = Reader(gateway, "@tokens:5000")
    assert gateway.running("fake") == 1
    reader.leave()
    wait_for(lambda: gateway.running("fake") == 0, 10)


def test_a_disconnect_without_a_stream_frees_it_too(gateway: GatewayProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{gateway.base_url}/v1/chat/completions", json=body("@tokens:5000", stream=False), timeout=0.5
        )
    wait_for(lambda: gateway.running("fake") == 0, 10)


def test_the_network_needs_keys(tmp_path: Path) -> None:
    settings = config(auth={"keys_file": str(tmp_path / "none.json")})
    process = start(settings, tmp_path, "--host", "0.0.0.0")
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert "keys create" in (tmp_path / "log").read_text()


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
