"""Our side: a temporary configuration and the command that serves it.

Knows the gateway only from outside, by its command line, its configuration file and its health route.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.servers import Server, ServerFailed, free_port, running

_GATEWAY = [sys.executable, "-m", "gateway"]


@contextlib.contextmanager
def gateway(models: Sequence[dict[str, Any]], scratch: Path) -> Iterator[Server]:
    """`python -m gateway serve` with these models, all preloaded, on a free loopback port."""
    port = free_port()
    config = scratch / "gateway.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "server": {"host": "127.0.0.1", "port": port},
                "log": {"level": "warning"},
                "paths": {"data_dir": str(scratch / "data")},
                "models": [{**model, "preload": True} for model in models],
            }
        )
    )
    command = [*_GATEWAY, "serve", "--config", str(config)]
    with running(
        "gateway", command, port=port, ready_path="/health/ready", log=scratch / "gateway.log"
    ) as server:
        yield server


def starter_weights(name: str) -> Path:
    """Local path of one of the built-in configuration's models, pulled if it is not here yet."""
    pulled = subprocess.run([*_GATEWAY, "pull", name], check=True, stdout=subprocess.PIPE, text=True)
    path = Path(pulled.stdout.strip())
    if not path.exists():
        raise ServerFailed(f"`pull {name}` printed no path: {pulled.stdout!r}")
    return path
