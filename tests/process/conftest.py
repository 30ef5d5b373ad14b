"""The real starter models for the process tests; `make test` has pulled them before."""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from config.load import cache_dir, load_config
from gateway.engine.launcher.environment import child_environment
from gateway.weights.store import WeightsStore
from tests.gateway_process import GatewayProcess

# Some of these tests load llama.cpp into their own process: its threads are to spin as a worker's do.
os.environ.update(child_environment({}))


def starter_weights(name: str, override: str) -> Path:
    """Local weights of the starter model `name`, or the path in the variable `override`.

    Missing weights are an error that names the command to pull them: a skipped test would hide it.
    """
    if path := os.environ.get(override):
        return Path(path)
    config = load_config()
    spec = next(spec for spec in config.models if spec.name == name)
    return WeightsStore(cache_dir(config)).locate(spec)


@pytest.fixture(scope="session")
def minilm_path() -> Path:
    return starter_weights("all-minilm-l6-v2", "LLM_CORTEX_TEST_MINILM")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """The loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    return starter_weights("smollm2-135m-instruct", "LLM_CORTEX_TEST_GGUF")


@pytest.fixture(scope="session")
def pictures_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """BLIP, CLIP and SDXL of random weights, tiny: their libraries take half a minute to start."""
    # Seconds of importing that no other test here is to pay for.
    from tests.diffusion_checkpoint import write_sdxl
    from tests.vision_checkpoints import write_blip, write_clip

    folder = tmp_path_factory.mktemp("pictures")

    def model(name: str, tasks: list[str], weights: Path, **parameters: Any) -> dict[str, Any]:
        return {
            "name": name,
            "backend": name,
            "tasks": tasks,
            "source": str(weights),
            "parameters": {"n_threads": 1, **parameters},
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of diffusers, behind NumPy's newest manners
        painter = write_sdxl(folder / "sdxl")
    models = [
        model("blip", ["caption"], write_blip(folder / "blip"), max_tokens=10),
        model("clip", ["classify", "embed"], write_clip(folder / "clip")),
        model("diffusion", ["paint", "edit"], painter, steps=3, guidance=2, max_steps=1000),
    ]
    config: dict[str, Any] = {"models": models, "paths": {"spool_dir": str(folder / "spool")}}
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()
    assert list((folder / "spool").iterdir()) == []
