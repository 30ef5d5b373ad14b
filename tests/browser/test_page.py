"""The page as a person uses it: chat, stop, models, errors, the key."""

import json
import re
import time
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Request, expect

from tests.browser.conftest import OpenPage
from tests.gateway_process import GatewayProcess, wait_for

STARTER = "smollm2-135m-instruct"
LONG = "Tell me a very long story about a ship."


def ask(page: Page, model: str, prompt: str) -> Locator:
    """Send a message by the keyboard; the element of the answer."""
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_label("Message").fill(prompt)
    page.get_by_label("Message").press("Enter")
    return page.locator(".message.assistant").last


def text_of(answer: Locator) -> str:
    return answer.locator(".text").inner_text()


def wait_for_more(answer: Locator, before: str) -> str:
    """The text of the answer once it has grown beyond `before`."""
    deadline = time.monotonic() + 30
    while len(text := text_of(answer)) <= len(before):
        assert time.monotonic() < deadline, "no more text came"
        time.sleep(0.02)
    return text


def test_chat_with_the_real_model_streams(page: Page) -> None:
    page.get_by_label("Max tokens").fill("200")
    answer = ask(page, STARTER, LONG)
    first = wait_for_more(answer, "")
    expect(answer).to_have_attribute("aria-busy", "true")
    assert wait_for_more(answer, first).startswith(first)
    expect(answer).to_have_attribute("data-state", "done")
    expect(answer.locator(".status")).to_have_text(
        re.compile(r"^\d+ in, \d+ out · [\d.]+ tokens/s · first after [\d.]+ s")
    )
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_stop_frees_the_model(page: Page, gateway: GatewayProcess) -> None:
    answer = ask(page, "scripted", "@tokens:3000 @slow:20")
    wait_for_more(answer, "")
    assert gateway.running("scripted") == 1
    page.get_by_role("button", name="Stop").click()
    expect(answer).to_have_attribute("data-state", "stopped")
    wait_for(lambda: gateway.running("scripted") == 0, 10)
    stopped = text_of(answer)
    assert stopped != ""
    page.wait_for_timeout(300)
    assert text_of(answer) == stopped
    expect(answer.locator(".status")).to_contain_text("stopped")


def test_escape_stops_too(page: Page) -> None:
    answer = ask(page, "scripted", "@tokens:500 @slow:20")
    wait_for_more(answer, "")
    page.keyboard.press("Escape")
    expect(answer).to_have_attribute("data-state", "stopped")


def test_the_weakness_of_the_chosen_model_is_said(page: Page) -> None:
    expect(page.locator("#model-note")).to_contain_text("Very weak")
    page.get_by_label("Model", exact=True).select_option("scripted")
    expect(page.locator("#model-note")).to_have_text("Scripted for tests.")
    page.get_by_label("Model", exact=True).select_option("broken")
    expect(page.locator("#model-note")).to_be_hidden()


def test_models_are_listed_with_state_and_error(page: Page) -> None:
    rows = page.locator("#models li")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text=STARTER).locator(".state")).to_have_text("ready")
    expect(rows.filter(has_text=STARTER)).to_contain_text("also gpt-4o-mini")
    broken = rows.filter(has_text="broken")
    expect(broken.locator(".state")).to_have_text("failed")
    expect(broken.locator(".error")).to_contain_text("broken as scripted")


def test_a_model_is_unloaded_and_loaded_again(page: Page) -> None:
    row = page.locator("#models li").filter(has_text="scripted").first
    expect(row.locator(".state")).to_have_text("ready")
    row.get_by_role("button", name="Unload scripted").click()
    expect(row.locator(".state")).to_have_text("cold", timeout=15_000)
    row.get_by_role("button", name="Load scripted").click()
    expect(row.locator(".state")).to_have_text("ready", timeout=15_000)


def test_a_refusal_is_shown_in_the_conversation(page: Page) -> None:
    answer = ask(page, "broken", "Hello?")
    alert = answer.get_by_role("alert")
    expect(alert).to_contain_text("broken")
    expect(answer.locator(".status")).to_contain_text(re.compile(r"^503 · model_failed · request \S+"))
    # The next question goes out without the one that got no answer.
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "scripted", "@tokens:2")
    assert messages(sent.value) == [("user", "@tokens:2")]


def test_a_failure_in_mid_stream_is_shown(page: Page) -> None:
    answer = ask(page, "scripted", "@tokens:50 @error:3")
    expect(answer).to_have_attribute("data-state", "failed")
    expect(answer.locator(".text")).to_contain_text("w0 w1")
    expect(answer.get_by_role("alert")).not_to_be_empty()


def test_an_unreachable_server_is_said(page: Page) -> None:
    page.route("**/v1/**", lambda route: route.abort())
    expect(page.get_by_role("status")).to_contain_text("cannot be reached")
    answer = ask(page, "scripted", "Hello?")
    expect(answer.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute("**/v1/**")
    expect(page.get_by_role("status")).to_have_text("connected")


def test_settings_and_history_are_sent(page: Page) -> None:
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Max tokens").fill("7")
    answer = ask(page, "scripted", "@tokens:50")
    expect(answer.locator(".status")).to_contain_text("cut off at the token limit")
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "scripted", "and then? @tokens:1")
    body: dict[str, Any] = json.loads(sent.value.post_data or "")
    assert (body["temperature"], body["max_completion_tokens"], body["stream"]) == (0.3, 7, True)
    assert messages(sent.value) == [
        ("system", "Be brief."),
        ("user", "@tokens:50"),
        ("assistant", "w0 w1 w2 w3 w4 w5 w6 "),
        ("user", "and then? @tokens:1"),
    ]


def test_a_wrong_setting_is_not_sent(page: Page) -> None:
    page.get_by_label("Temperature").fill("9")
    page.get_by_label("Message").fill("Hello?")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Temperature")).to_be_focused()
    expect(page.locator(".message")).to_have_count(0)


def test_shift_enter_is_a_new_line_and_text_is_never_markup(page: Page) -> None:
    page.get_by_label("Model", exact=True).select_option("scripted")
    prompt = page.get_by_label("Message")
    prompt.fill("<img src=x onerror=alert(1)>")
    prompt.press("Shift+Enter")
    prompt.press_sequentially("@tokens:1")
    prompt.press("Enter")
    expect(page.locator(".message.user")).to_have_text("<img src=x onerror=alert(1)>\n@tokens:1")
    expect(page.locator("#log img")).to_have_count(0)


def test_a_new_chat_forgets_the_old_one_even_while_it_runs(page: Page) -> None:
    answer = ask(page, "scripted", "@tokens:500 @slow:20")
    wait_for_more(answer, "")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".message")).to_have_count(0)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "scripted", "@tokens:1")
    assert messages(sent.value) == [("user", "@tokens:1")]


def test_a_key_is_asked_for_and_kept_in_the_tab_only(
    open_page: OpenPage, locked_gateway: tuple[GatewayProcess, str]
) -> None:
    process, key = locked_gateway
    page = open_page(process)
    expect(page.get_by_role("status")).to_have_text("needs an API key")
    page.get_by_label("API key").fill("wrong")
    page.get_by_label("API key").press("Enter")
    expect(page.get_by_role("status")).to_have_text("API key not accepted")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use").click()
    expect(page.get_by_role("status")).to_have_text("connected")
    expect(page.get_by_label("API key")).to_be_hidden()
    expect(ask(page, "scripted", "@tokens:2").locator(".text")).to_contain_text("w0 w1")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert key in page.evaluate("Object.values(sessionStorage)")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_events_survive_any_cut_of_the_bytes(page: Page, size: int) -> None:
    stream = ': ping\r\n\r\ndata: {"a":"é😀"}\r\n\r\nevent: x\ndata:1\ndata: 2\n\ndata: cut off'
    script = """async ([text, size]) => {
        const { events } = await import("/static/sse.js");
        const bytes = new TextEncoder().encode(text);
        const body = new ReadableStream({ start(to) {
            for (let i = 0; i < bytes.length; i += size) to.enqueue(bytes.slice(i, i + size));
            to.close();
        } });
        const found = [];
        for await (const data of events(body)) found.push(data);
        return found;
    }"""
    assert page.evaluate(script, [stream, size]) == ['{"a":"é😀"}', "1\n2"]


def messages(request: Request) -> list[tuple[str, str]]:
    body = json.loads(request.post_data or "")
    return [(message["role"], message["content"]) for message in body["messages"]]
