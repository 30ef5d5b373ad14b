"""The real starter models for the process tests; `make test` has pulled them before."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from config.load import cache_dir, load_config
from gateway.engine.launcher.environment import child_environment
from gateway.weights.store import WeightsStore

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
