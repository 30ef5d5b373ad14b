"""The gateway as a user starts it, for tests in a browser."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

START_S = 60.0


@dataclass(frozen=True)
class GatewayProcess:
    base_url: str

    @classmethod
    @contextmanager
    def serving(cls, config: dict[str, Any], folder: Path) -> "Iterator[GatewayProcess]":
        """A gateway on a free port, ready; stopped by SIGTERM at the end."""
        file = folder / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(file), "--port", "0"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            gateway = cls(_announced(process, folder / "log"))
            gateway.wait_until_live()
            yield gateway
        finally:
            process.terminate()
            process.communicate(timeout=45)

    def wait_until_live(self) -> None:
        deadline = time.monotonic() + START_S
        while httpx.get(f"{self.base_url}/health/live").status_code != 200:
            assert time.monotonic() < deadline, "the gateway is not live"
            time.sleep(0.1)

    def running(self, model: str) -> float:
        """Requests of `model` in an engine now, by /metrics."""
        text = httpx.get(f"{self.base_url}/metrics").text
        pattern = rf'^llm_cortex_num_requests_running{{model="{re.escape(model)}"}} (\S+)$'
        found = re.search(pattern, text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def _announced(process: "subprocess.Popen[str]", log: Path) -> str:
    """The address in the gateway's first line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+?:\d+", line)
    assert found, f"the gateway did not start: {line}{log.read_text()}"
    return found[0]
