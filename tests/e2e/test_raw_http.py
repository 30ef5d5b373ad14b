"""Raw HTTP on the live server: frames, malformed bodies, foreign pages."""

import json
import socket
import time
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import CHAT, EMBEDDING
from tests.gateway_process import GatewayProcess
from tests.unit.gateway.http.fakes import assert_envelope
from tests.unit.gateway.http.test_malformed import CASES

JSON = {"content-type": "application/json"}


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": CHAT, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 6} | fields


def frames_of(text: str) -> list[str]:
    """The frames of a stream; a busy machine's has keep-alives among them."""
    return [frame for frame in text.removesuffix("\n\n").split("\n\n") if frame != ": keepalive"]


def test_the_frames_of_a_stream(gateway: GatewayProcess) -> None:
    with httpx.stream(
        "POST",
        f"{gateway.base_url}/v1/chat/completions",
        json=ask(stream=True, stream_options={"include_usage": True}),
        timeout=60,
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-request-id"]
        text = response.read().decode()
    assert "\r" not in text
    frames = frames_of(text)
    assert [frame for frame in frames if not frame.startswith("data: ") or "\n" in frame] == []
    assert frames[-1] == "data: [DONE]"
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-1]]
    assert all(isinstance(chunk["choices"], list) for chunk in chunks)
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] <= 6


# What the starter model honours, and the fake one of the table does not.
HONOURED = {
    "JSON object",
    "JSON schema",
    "best_of",
    "completion logprobs",
    "echo",
    "functions",
    "grammar",
    "logit_bias of a token that is not",
    "logprobs",
    "more than one completion",
    "n of 2",
    "older route, a format the model does not know",
    "parameter of another model",
    "regular expression",
    "template arguments",
    "tool calls of a model without tools",
    "tools",
}


@pytest.mark.parametrize("name", sorted(CASES.keys() - HONOURED))
def test_a_malformed_body_is_refused_by_the_live_server(gateway: GatewayProcess, name: str) -> None:
    """The table of the unit tests, with the starter models' names."""
    path, body, param = CASES[name]
    for fake, real in ((b'"talker"', CHAT), (b'"org/embedder"', EMBEDDING)):
        body = body.replace(fake, b'"' + real.encode() + b'"')
    response = httpx.post(f"{gateway.base_url}{path}", content=body, headers=JSON, timeout=60)
    assert_envelope(response, 400, param)


def test_health_answers_while_hostile_bodies_are_read(gateway: GatewayProcess) -> None:
    """Row 13: the event loop pauses for 50 ms at most; the rest is granted to a busy machine."""
    hostile = [
        b'{"model":"%b","input":[' % EMBEDDING.encode() + b"[]," * 2_000_000 + b"[]]}",
        b'{"model":"%b","input":"' % EMBEDDING.encode() + b"\\n" * 4_000_000 + b'","x":1}',
        b"[" * 8_000_000,
        b'"' * 8_000_000,
    ]
    with httpx.Client(base_url=gateway.base_url, timeout=60) as client:
        # The least of three: the machine may pause once, a body that blocks the loop does so each time.
        worst_s = [min(_worst_health_s(gateway, client, body) for _ in range(3)) for body in hostile]
    assert max(worst_s) < 0.1


def _worst_health_s(gateway: GatewayProcess, client: httpx.Client, body: bytes) -> float:
    """The longest that /health/live took to answer while this body was read and refused."""
    worst_s = 0.0
    with socket.create_connection(("127.0.0.1", gateway.port)) as rude:
        rude.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        ends_at = time.monotonic() + 0.5
        while time.monotonic() < ends_at:
            started_at = time.monotonic()
            assert client.get("/health/live").status_code == 200
            worst_s = max(worst_s, time.monotonic() - started_at)
        assert rude.recv(64).startswith(b"HTTP/1.1 400")
    return worst_s


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_foreign_pages_and_hosts_are_refused(gateway: GatewayProcess, method: str) -> None:
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}, {"origin": "null"}):
        for path in ("/v1/chat/completions", "/v1/models", "/", "/metrics", "/nowhere"):
            response = httpx.request(method, f"{gateway.base_url}{path}", headers=headers)
            assert response.status_code == 403, (path, headers)


def test_json_as_text_is_refused(gateway: GatewayProcess) -> None:
    body = json.dumps(ask()).encode()
    for headers in ({"content-type": "text/plain"}, {}):
        response = httpx.post(f"{gateway.base_url}/v1/chat/completions", content=body, headers=headers)
        assert_envelope(response, 415)


def test_a_websocket_of_a_foreign_page_is_refused(gateway: GatewayProcess) -> None:
    headers = {
        "origin": "https://evil.example",
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "sec-websocket-version": "13",
    }
    assert httpx.get(f"{gateway.base_url}/v1/realtime", headers=headers).status_code == 403


def test_a_body_over_the_cap_is_refused_and_memory_stays(gateway: GatewayProcess) -> None:
    def pieces() -> Any:
        for _ in range(160):
            yield b" " * 65536

    response = httpx.post(
        f"{gateway.base_url}/v1/chat/completions", content=pieces(), headers=JSON, timeout=60
    )
    assert_envelope(response, 413)


def test_the_older_route(gateway: GatewayProcess) -> None:
    url = f"{gateway.base_url}/api/v1/llm/chat"
    body = httpx.post(url, json={"message": "Hello", "max_tokens": 6}, timeout=60).json()
    assert body["message"]["content"]
    assert body["model"] == CHAT
    text = httpx.post(url, json={"message": "Hello", "max_tokens": 6, "stream": True}, timeout=60).text
    frames = [json.loads(frame.removeprefix("data: ")) for frame in frames_of(text)]
    assert frames[-1]["done"] is True
    assert frames[-1]["usage"]["completion_tokens"] <= 6
    assert "".join(frame["delta"] for frame in frames[:-1])


def test_the_log_holds_no_prompt(gateway: GatewayProcess) -> None:
    secret = "xylophone-quartz"
    for stream in (False, True):
        httpx.post(
            f"{gateway.base_url}/v1/chat/completions",
            json=ask(stream=stream, messages=[{"role": "user", "content": secret}]),
            timeout=60,
        )
    httpx.post(f"{gateway.base_url}/v1/chat/completions", json=ask(model=secret))
    log = gateway.log.read_text()
    assert "request" in log
    assert secret not in log
