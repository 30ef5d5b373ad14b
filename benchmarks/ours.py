"""Our side: a temporary configuration and the command that serves it.

Knows the gateway only from outside, by its command line, its configuration file and its health route.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.servers import Server, free_port, running


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
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config)]
    with running(
        "gateway", command, port=port, ready_path="/health/ready", log=scratch / "gateway.log"
    ) as server:
        yield server
