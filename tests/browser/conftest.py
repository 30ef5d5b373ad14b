"""A real gateway process and a real Chromium. Every page fails its test if it logs an error, breaks the
content policy or asks any other host for anything.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from config.load import load_config
from tests.gateway_process import GatewayProcess

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OpenPage = Callable[..., Page]

_PATIENCE_S = 30
"""The page itself looks at the server every four seconds."""
expect.set_options(timeout=_PATIENCE_S * 1000)


def fake_model(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "backend": "fake", "tasks": ["generate"], "source": __file__, **settings}


@pytest.fixture(scope="package")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Serves the real starter chat model, a scripted one and one that cannot load."""
    starter = next(model for model in load_config().models if "generate" in model.tasks)
    models = [
        msgspec.to_builtins(starter),
        fake_model("scripted", preload=True, note="Scripted for tests."),
        fake_model("broken", preload=True, parameters={"load_fault": "error"}),
    ]
    with GatewayProcess.serving({"models": models}, tmp_path_factory.mktemp("gateway")) as process:
        yield process


@pytest.fixture(scope="package")
def locked_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, str]]:
    """A gateway that asks for a key, and the key."""
    folder = tmp_path_factory.mktemp("locked")
    config = {
        "models": [fake_model("scripted", preload=True)],
        "auth": {"keys_file": str(folder / "keys.json")},
    }
    file = folder / "keys.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "gateway", "keys", "create", "browser", "--config", str(file)]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    with GatewayProcess.serving(config, folder) as process:
        yield process, made.stdout.strip()


# Of the package, not of the session: a live synchronous playwright holds this thread's event loop.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if program is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("these tests need a Chromium: .ci/install-chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens the page of a gateway in a session of its own."""
    faults: list[str] = []
    pages: list[Page] = []

    def open_(process: GatewayProcess) -> Page:
        page = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
        # Chromium itself logs every answer of 4xx and 5xx; tests provoke those.
        page.on(
            "console",
            lambda message: (
                faults.append(message.text)
                if message.type == "error" and not message.text.startswith("Failed to load resource")
                else None
            ),
        )
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda request: (
                faults.append(f"asked for {request.url}")
                if not request.url.startswith(process.base_url + "/")
                else None
            ),
        )
        page.set_default_timeout(_PATIENCE_S * 1000)
        page.goto(process.base_url)
        pages.append(page)
        return page

    yield open_
    for page in pages:
        page.context.close()
    assert faults == []


@pytest.fixture
def page(open_page: OpenPage, gateway: GatewayProcess) -> Page:
    return open_page(gateway)
