"""The API's page: Swagger UI under the strict content policy, offline, with a request tried out."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.gateway_process import GatewayProcess


def operation(page: Page, path: str) -> Locator:
    """The block of a path's only operation, opened."""
    block = page.locator(".opblock", has=page.locator(f'[data-path="{path}"]'))
    block.locator(".opblock-summary-control").click()
    return block


def test_it_lists_the_api_and_tries_a_request(page: Page, gateway: GatewayProcess) -> None:
    page.goto(f"{gateway.base_url}/docs")
    expect(page.get_by_role("heading", name=re.compile("LLM-Cortex"))).to_be_visible()
    for path in ("/v1/chat/completions", "/v1/embeddings", "/tokenize", "/v1/models/{model}"):
        expect(page.locator(f'[data-path="{path}"]')).to_be_visible()
    block = operation(page, "/v1/chat/completions")
    expect(block.get_by_text("gpt-4o-mini")).to_be_visible()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    live = block.locator(".live-responses-table .response")
    expect(live.locator(".response-col_status")).to_contain_text("200", timeout=30_000)
    expect(live).to_contain_text("chat.completion")


def test_it_is_public_and_a_request_needs_a_key(
    open_page: OpenPage, locked_gateway: tuple[GatewayProcess, str]
) -> None:
    process, key = locked_gateway
    page = open_page(process)
    page.goto(f"{process.base_url}/docs")
    block = operation(page, "/v1/models")
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    status = block.locator(".live-responses-table .response .response-col_status")
    expect(status).to_contain_text("401")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(key)
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").click()
    block.get_by_role("button", name="Execute").click()
    expect(status).to_contain_text("200")
