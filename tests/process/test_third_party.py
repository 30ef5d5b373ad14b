"""The example of a third party's backend: built, installed beside the gateway, tested and served."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.gateway_process import GatewayProcess, wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "letters"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the package is installed, by pip and without a network."""
    source, target = tmp_path_factory.mktemp("source") / "letters", tmp_path_factory.mktemp("target")
    shutil.copytree(EXAMPLE, source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(target), str(source)]
    subprocess.run(command, check=True)
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def gateway(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    config: dict[str, Any] = yaml.safe_load((EXAMPLE / "letters.yaml").read_text())
    (model,) = config["models"]
    model["source"] = str(EXAMPLE / model["source"])
    broken = model | {"name": "broken", "preload": False, "parameters": {"alphabt": "x"}}
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess.serving({"models": [model, broken]}, folder, env=environment) as process:
        yield process.wait_until_ready()


def embed(gateway: GatewayProcess, **fields: Any) -> httpx.Response:
    return httpx.post(f"{gateway.base_url}/v1/embeddings", json={"model": "letters"} | fields, timeout=30)


def test_its_own_tests_pass(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_served(gateway: GatewayProcess) -> None:
    body = embed(gateway, input=["Abba", "z"]).json()
    assert [item["embedding"][:3] for item in body["data"]] == [[2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    assert body["data"][1]["embedding"][25] == 1.0
    assert body["usage"]["prompt_tokens"] == 5


def test_its_description_is_told(gateway: GatewayProcess) -> None:
    told = gateway.get("/v1/models/letters").json()["capabilities"]
    assert (told["backend"], told["tasks"], told["dimensions"]) == ("letters", ["embed"], 26)


def test_its_refusals_are_told(gateway: GatewayProcess) -> None:
    response = embed(gateway, input=[1, 2])
    assert (response.status_code, response.json()["error"]["param"]) == (400, "input")
    tokens = httpx.post(f"{gateway.base_url}/tokenize", json={"model": "letters", "prompt": "x"}, timeout=30)
    assert (tokens.status_code, tokens.json()["error"]["code"]) == (400, "model_task_mismatch")


def test_a_wrong_parameter_is_told_and_harms_nobody(gateway: GatewayProcess) -> None:
    response = embed(gateway, model="broken", input="x")
    assert response.status_code == 503
    assert "alphabt" in response.json()["error"]["message"]
    assert embed(gateway, input="x").status_code == 200


def test_its_worker_is_replaced_when_it_dies(gateway: GatewayProcess) -> None:
    (pid,) = gateway.worker_pids()
    os.kill(pid, 9)
    assert embed(gateway, input="x").status_code == 200
    wait_for(lambda: pid not in gateway.worker_pids() and len(gateway.worker_pids()) == 1, 10)
