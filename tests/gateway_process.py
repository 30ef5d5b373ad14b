"""The gateway as a user starts it: a process of its own, and what can be seen of it from outside."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

START_S = 300.0
STOP_S = 45.0


class GatewayProcess:
    """A running `llm-cortex serve`."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self.process = process
        self.log = folder / "log"
        self.base_url = self._announced()
        wait_for(lambda: self.get("/health/live").status_code == 200, START_S)

    @classmethod
    @contextmanager
    def serving(cls, config: dict[str, Any], folder: Path, **popen: Any) -> "Iterator[GatewayProcess]":
        """A gateway on a free port, live; stopped by SIGTERM at the end."""
        process = start(config, folder, **popen)
        try:
            yield cls(process, folder)
        finally:
            process.terminate()
            process.communicate(timeout=STOP_S)

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def get(self, path: str) -> httpx.Response:
        # Without certificates, which take longer to be read than the answer and are of no use here.
        return httpx.get(f"{self.base_url}{path}", timeout=10, verify=False)

    def wait_until_ready(self) -> "GatewayProcess":
        wait_for(lambda: self.get("/health/ready").status_code == 200, START_S)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """A sample of /metrics by its name without the prefix; 0.0 where there is none."""
        return next(self._samples(name, labels), 0.0)

    def total(self, name: str, **labels: str) -> float:
        """Of all its samples that have these labels, whatever the others are."""
        return sum(self._samples(name, labels))

    def _samples(self, name: str, labels: dict[str, str]) -> Iterator[float]:
        for line in self.get("/metrics").text.splitlines():
            found = re.fullmatch(rf"llm_cortex_{name}(?:{{(.*)}})? (\S+)", line)
            if found and all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items()):
                yield float(found[2])

    def running(self, model: str) -> float:
        """Requests of `model` in an engine now."""
        return self.metric("num_requests_running", model=model)

    def workers(self, model: str, state: str = "ready") -> int:
        """Workers of `model` in this state, as the gateway sees them."""
        text = self.get("/metrics").text
        label = re.escape(f'model="{model}"'), re.escape(f'state="{state}"')
        return len(re.findall(rf"llm_cortex_worker_state{{.*{label[0]}.*{label[1]}.*}} 1\.0", text))

    def models_by_pid(self) -> dict[int, str]:
        """Of the workers that are ready, as the gateway's log tells it, and still alive."""
        lines = (line for line in self.log.read_text().splitlines() if '"model ready"' in line)
        told = {entry["pid"]: entry["model"] for entry in map(json.loads, lines)}
        return {pid: model for pid, model in told.items() if pid in self.worker_pids()}

    def load_s(self, model: str) -> float:
        """Mean time of its loads so far."""
        loads = self.metric("model_load_seconds_count", model=model)
        return self.loads_s(model) / max(1.0, loads)

    def loads_s(self, model: str) -> float:
        """All its loads so far, together."""
        return self.metric("model_load_seconds_sum", model=model)

    def family(self) -> list[psutil.Process]:
        """Workers and their helpers."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def worker_pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def _announced(self) -> str:
        """The address in the first line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+?:\d+", line)
        assert found, f"the gateway did not start: {line}{self.log.read_text()}"
        return found[0]


def start(config: dict[str, Any], folder: Path, *arguments: str, **popen: Any) -> "subprocess.Popen[str]":
    """`llm-cortex serve` with this configuration; the port is free to choose where it names none."""
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({"server": {"port": 0}} | config))
    command = [sys.executable, "-P", "-m", "gateway", "serve", "--config", str(file), *arguments]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, **popen)


def wait_for(condition: Callable[[], bool], timeout_s: float) -> float:
    """Poll what happens in another process; seconds it took. Fails the test at the timeout."""
    started_at = time.monotonic()
    late = False
    while not _holds(condition):
        assert not late, f"not within {timeout_s:g} s"
        time.sleep(0.02)
        # It is looked at once more after the timeout: what has been held up may be this process.
        late = time.monotonic() - started_at >= timeout_s
    return time.monotonic() - started_at


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except httpx.TransportError:
        return False
