"""Where the gateway is: told by the process that started it. Runs in a client's own environment."""

import os

import pytest


@pytest.fixture(scope="session")
def base_url() -> str:
    return os.environ["LLM_CORTEX_URL"]


@pytest.fixture(scope="session")
def chat_model() -> str:
    return os.environ["LLM_CORTEX_CHAT"]
