"""The page that paints, as a person uses it."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, fake_model
from tests.gateway_process import GatewayProcess, wait_for


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    models = [
        fake_model("scripted"),
        fake_model("painter", tasks=["paint"], preload=True, parameters={"tokens": 5}),
    ]
    with GatewayProcess.serving({"models": models}, tmp_path_factory.mktemp("painter")) as process:
        yield process.wait_until_ready()


@pytest.fixture
def page(open_page: OpenPage, painter: GatewayProcess) -> Page:
    page = open_page(painter)
    page.get_by_role("link", name="Paint pictures").click()
    expect(page.get_by_label("Size")).to_have_value("auto")
    return page


def test_a_picture_is_painted_and_shown(page: Page) -> None:
    expect(page.get_by_label("Model")).to_have_value("painter")
    page.get_by_label("Size").select_option("96x64")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Previews").fill("2")
    page.get_by_label("Picture").fill("a boat")
    page.get_by_label("Picture").press("Enter")
    expect(page.locator("#caption")).to_have_text("96x64 · seed 7")
    shown = page.get_by_role("img", name="a boat")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [96, 64]
    expect(page.get_by_role("progressbar")).to_be_hidden()


def test_stop_frees_the_model(page: Page, painter: GatewayProcess) -> None:
    page.get_by_label("Picture").fill("@tokens:200 @slow:50")
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("progressbar")).to_have_attribute("value", re.compile(r"\d+"))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#caption")).to_have_text("stopped")
    wait_for(lambda: painter.running("painter") == 0, 5)


def test_a_refusal_is_shown(page: Page) -> None:
    page.get_by_label("Previews").fill("3")
    page.get_by_label("Picture").fill("@tokens:2 a boat")
    page.get_by_role("button", name="Paint").click()
    expect(page.get_by_role("alert")).to_contain_text("2 steps have at most 1 previews")
