"""A running gateway whose models and configuration change: over HTTP, by the command line, by signals."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.gateway_process import GatewayProcess, wait_for


def fake(name: str = "fake", tokens: int = 2, **settings: Any) -> dict[str, Any]:
    parameters = {"tokens": tokens} | settings.pop("parameters", {})
    plain = {"name": name, "backend": "fake", "tasks": ["generate"], "source": __file__, "preload": True}
    return plain | {"parameters": parameters} | settings


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    paths = {"cache_dir": str(folder / "cache"), "data_dir": str(folder / "data")}
    config = {"paths": paths, "server": {"port": 0, "watch_config_s": 0.1}, "models": [fake()]}
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()


class Client:
    """Asks without a pause until told to stop, and keeps every answer."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._url = f"{gateway.base_url}/v1/chat/completions"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: list[str] = []

    def __enter__(self) -> "Client":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._over.is_set():
                self.answers.append(ask(self._url, client))


def ask(url: str, client: httpx.Client, model: str = "fake") -> str:
    """The text, or what went wrong."""
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    response = client.post(url, json=body)
    if response.status_code != 200:
        return response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def answer(gateway: GatewayProcess, model: str = "fake") -> str:
    with httpx.Client(timeout=30) as client:
        return ask(f"{gateway.base_url}/v1/chat/completions", client, model)


def configuration(gateway: GatewayProcess) -> tuple[Path, dict[str, Any]]:
    file = gateway.log.with_name("config.yaml")
    return file, yaml.safe_load(file.read_text())


def command(gateway: GatewayProcess, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`llm-cortex` as a user runs it, against this server."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "gateway", *arguments],
        env=os.environ | {"LLM_CORTEX_URL": gateway.base_url},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def refusals_reached(gateway: GatewayProcess, count: int) -> bool:
    return gateway.metric("config_reloads_total", outcome="refused") >= count


def test_a_bad_file_changes_nothing_and_a_good_one_swaps(gateway: GatewayProcess) -> None:
    """Row 27, with a client that never pauses."""
    file, tree = configuration(gateway)
    whole = file.read_text()
    bad = [
        "models: [",
        yaml.safe_dump(tree | {"nonsense": 1}),
        yaml.safe_dump(tree | {"models": [fake(source="/nowhere")]}),
        whole[: len(whole) // 2] + "\n  - {",
    ]
    with Client(gateway) as client:
        for refused, text in enumerate(bad, 1):
            file.write_text(text)
            wait_for(partial(refusals_reached, gateway, refused), 20)
        file.write_text(yaml.safe_dump(tree | {"models": [fake(tokens=3), fake("more", 1)]}))
        os.kill(gateway.process.pid, signal.SIGHUP)
        wait_for(lambda: client.answers[-1:] == ["w0 w1 w2 "], 20)
    assert set(client.answers) == {"w0 w1 ", "w0 w1 w2 "}, "no request has failed"
    assert answer(gateway, "more") == "w0 "
    assert gateway.metric("model_swaps_total", model="fake", outcome="ok") == 1
    file.write_text(yaml.safe_dump(tree | {"models": [fake(tokens=3)], "limits": {"open_requests": 9}}))
    wait_for(lambda: "model_not_found" in answer(gateway, "more"), 20)


def test_models_by_the_command_line(gateway: GatewayProcess, tmp_path: Path) -> None:
    shown = command(gateway, "models", "ps")
    assert shown.returncode == 0, shown.stderr
    assert "fake" in shown.stdout
    assert "ready" in shown.stdout
    assert command(gateway, "models", "unload", "fake").stdout.startswith("fake: cold")
    assert command(gateway, "models", "load", "fake", "--pin").stdout.startswith("fake: ready")
    swapped = command(gateway, "models", "swap", "fake", "parameters.tokens=4")
    assert swapped.stdout.startswith("fake: ready"), swapped.stderr
    assert answer(gateway) == "w0 w1 w2 w3 "
    again = command(gateway, "models", "reload", "fake")
    assert again.stdout.startswith("fake: ready"), again.stderr
    bad = command(gateway, "models", "swap", "fake", "parameters.load_fault=error")
    assert bad.returncode == 1
    assert "scripted" in bad.stderr
    assert answer(gateway) == "w0 w1 w2 w3 "
    file = tmp_path / "model.yaml"
    file.write_text(yaml.safe_dump(fake("added", 1)))
    assert command(gateway, "models", "add", str(file)).returncode == 0
    assert answer(gateway, "added") == "w0 "
    assert command(gateway, "models", "remove", "added").returncode == 0
    assert "model_not_found" in answer(gateway, "added")
    assert "no server answers" in command(gateway, "models", "ps", "--url", "http://127.0.0.1:9").stderr
    assert command(gateway, "config", "reload").returncode == 0


def test_events_follow_a_load_until_the_server_ends(tmp_path: Path) -> None:
    paths = {"cache_dir": str(tmp_path / "cache"), "data_dir": str(tmp_path / "data")}
    config = {"paths": paths, "models": [fake(preload=False)]}
    with (
        GatewayProcess.serving(config, tmp_path) as gateway,
        httpx.stream("GET", f"{gateway.base_url}/admin/models/events", timeout=30) as stream,
    ):
        events = (json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: "))
        assert next(events)["state"] == "cold"
        httpx.post(f"{gateway.base_url}/models/load", json={"model": "fake"}).raise_for_status()
        told = [next(events)["event"] for _ in range(4)]
        gateway.process.terminate()
        assert all("error" not in event for event in events), "the stream ends without a fault"
    assert told == ["loading", "progress", "progress", "ready"]


def test_a_model_that_is_to_be_preloaded_from_now_on_is_loaded(tmp_path: Path) -> None:
    paths = {"cache_dir": str(tmp_path / "cache"), "data_dir": str(tmp_path / "data")}
    config = {"paths": paths, "models": [fake(preload=False)]}
    with GatewayProcess.serving(config, tmp_path) as gateway:
        file, tree = configuration(gateway)
        file.write_text(yaml.safe_dump(tree | {"models": [fake(preload=True)]}))
        assert command(gateway, "config", "reload").returncode == 0
        wait_for(lambda: gateway.workers("fake") == 1, 20)
        gateway.wait_until_ready()
