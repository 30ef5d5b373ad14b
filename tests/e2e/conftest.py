"""The gateway with the starter models, as `make run` starts it, and the official clients for it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI, OpenAI

from config.load import load_config
from tests.gateway_process import GatewayProcess, wait_for

CHAT = "smollm2-135m-instruct"
EMBEDDING = "all-minilm-l6-v2"
SPEECH = ["hibari", "whisper-base", "whisper-tiny.en"]
PICTURES = ["shapes-captioner", "shapes-clip"]


def starter_config(**sections: Any) -> dict[str, Any]:
    """The default configuration's models, and other sections of it."""
    return {"models": msgspec.to_builtins(load_config().models), **sections}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess.serving(starter_config(), tmp_path_factory.mktemp("gateway")) as process:
        yield process.wait_until_ready()


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(gateway: GatewayProcess) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves the shared gateway idle: a sequence that is not freed fails the test that left it."""
    yield
    if "gateway" in request.fixturenames:
        gateway: GatewayProcess = request.getfixturevalue("gateway")
        for model in (CHAT, EMBEDDING):
            wait_for(lambda model=model: gateway.running(model) == 0, 10)  # type: ignore[misc]
