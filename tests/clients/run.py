"""Runs each client's tests in an environment of its own against one gateway with the starter models.

usage: python -m tests.clients.run [CLIENT …]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.e2e.conftest import CHAT, EMBEDDING, starter_config
from tests.gateway_process import GatewayProcess

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".cache" / "clients"
CLIENTS = sorted(file.parent.name for file in HERE.glob("*/requirements.txt"))
SECOND_CHAT = "second-chat"
"""The same weights under another name, for clients that change models."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"of {', '.join(CLIENTS)}; default: all")
    parser.add_argument("--pytest", default="", help="more arguments for pytest, in one string")
    arguments = parser.parse_args()
    clients = arguments.clients or CLIENTS
    if unknown := set(clients) - set(CLIENTS):
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    pythons = {client: _environment(client) for client in clients}
    with tempfile.TemporaryDirectory() as folder, GatewayProcess.serving(_config(), Path(folder)) as gateway:
        gateway.wait_until_ready()
        statuses = [
            _run(client, python, gateway.base_url, arguments.pytest.split())
            for client, python in pythons.items()
        ]
    sys.exit(max(statuses))


def _config() -> dict[str, object]:
    config = starter_config()
    chat = next(model for model in config["models"] if model["name"] == CHAT)
    config["models"].append({**chat, "name": SECOND_CHAT, "aliases": [], "preload": False})
    return config


def _environment(client: str) -> Path:
    """The interpreter of the client's environment, made or brought up to date."""
    python = ENVIRONMENTS / client / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENTS / client, with_pip=True)
    requirements = HERE / client / "requirements.txt"
    done = ENVIRONMENTS / client / "requirements.txt"
    if not done.exists() or done.read_text() != requirements.read_text():
        print(f"installing {client}", flush=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
        done.write_text(requirements.read_text())
    return python


def _run(client: str, python: Path, base_url: str, more: list[str]) -> int:
    print(f"--- {client}", flush=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "LLM_CORTEX_URL": f"{base_url}/v1",
        "LLM_CORTEX_CHAT": CHAT,
        "LLM_CORTEX_SECOND_CHAT": SECOND_CHAT,
        "LLM_CORTEX_EMBEDDING": EMBEDDING,
        "LANGSMITH_TRACING": "false",
    }
    command = [python, "-m", "pytest", "-c", HERE / "pytest.ini", f"--rootdir={HERE}", HERE / client, *more]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    main()
