"""What requests say of their urgency, and what keys allow."""

from pathlib import Path

import pytest

from config.schema import TimeoutsConfig
from gateway.engine.priorities import LEVELS, PriorityClass
from gateway.keys import KeyLimits
from tests.unit.gateway.http.fakes import Site, assert_envelope, open_site

BODY = {"model": "talker", "messages": [{"role": "user", "content": "hi"}]}
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(("said", "level"), [*LEVELS.items(), ("Batch", -1), (None, 0)])
async def test_a_request_names_its_class(site: Site, said: str | None, level: int) -> None:
    headers = {"x-priority": said} if said else {}
    assert (await site.client.post(CHAT, json=BODY, headers=headers)).status_code == 200
    assert site.engine.jobs[0][0].priority == level


@pytest.mark.parametrize("said", ["urgent", "", "1", "batch, batch", "é"])
async def test_an_unknown_class_is_refused(site: Site, said: str) -> None:
    response = await site.client.post(CHAT, json=BODY, headers={b"x-priority": said.encode()})
    assert_envelope(response, 400, "x-priority")
    assert site.engine.jobs == []


async def test_two_classes_are_refused(site: Site) -> None:
    headers = [("x-priority", "batch"), ("x-priority", "normal")]
    assert_envelope(await site.client.post(CHAT, json=BODY, headers=headers), 400, "x-priority")


@pytest.mark.parametrize(
    ("usual", "highest", "said", "level"),
    [
        ("normal", "interactive", None, 0),
        ("batch", "normal", None, -1),
        ("batch", "normal", "normal", 0),
        ("interactive", "interactive", None, 1),
        ("batch", "normal", "interactive", None),
    ],
)
async def test_a_key_has_a_class_and_a_highest_one(
    tmp_path: Path, usual: PriorityClass, highest: PriorityClass, said: str | None, level: int | None
) -> None:
    async with open_site(tmp_path / "keys.json") as site:
        text = site.keys.create("alice", limits=KeyLimits(usual, highest))
        headers = {"authorization": f"Bearer {text}"} | ({"x-priority": said} if said else {})
        response = await site.client.post(CHAT, json=BODY, headers=headers)
        if level is None:
            assert assert_envelope(response, 403, "x-priority")["code"] == "priority_not_allowed"
        else:
            assert site.engine.jobs[0][0].priority == level


@pytest.mark.parametrize(
    ("said", "seconds"), [(None, 30.0), ("5", 5.0), ("0.25", 0.25), ("3600", 30.0), (" 7 ", 7.0)]
)
async def test_a_request_says_how_long_it_may_take(tmp_path: Path, said: str | None, seconds: float) -> None:
    async with open_site(tmp_path / "keys.json", timeouts=TimeoutsConfig(request_s=30)) as site:
        headers = {"x-request-timeout": said} if said else {}
        await site.client.post(CHAT, json=BODY, headers=headers)
        assert site.engine.jobs[0][0].timeout_s == seconds


@pytest.mark.parametrize("said", ["0", "-1", "nan", "inf", "soon", "", "1,2", "1e999"])
async def test_what_is_no_time_is_refused(site: Site, said: str) -> None:
    response = await site.client.post(CHAT, json=BODY, headers={"x-request-timeout": said})
    assert_envelope(response, 400, "x-request-timeout")
    assert site.engine.jobs == []


async def test_how_long_a_client_waits_for_a_byte_is_no_deadline(site: Site) -> None:
    await site.client.post(CHAT, json=BODY, headers={"x-stainless-read-timeout": "5"})
    assert site.engine.jobs[0][0].timeout_s == TimeoutsConfig().request_s


async def test_a_page_may_send_both_headers(site: Site) -> None:
    asked = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-priority, x-request-timeout",
    }
    response = await site.client.options(CHAT, headers=asked)
    assert response.headers["access-control-allow-headers"] == "x-priority, x-request-timeout"
    exposed = (await site.client.get("/v1/models", headers={"origin": asked["origin"]})).headers
    assert "x-queue-position" in exposed["access-control-expose-headers"]
