"""Requests that make every server do the same work."""

from typing import Any

import msgspec

from benchmarks.client import Address
from benchmarks.requests import chat_request
from benchmarks.servers import Server


def body(side: str, **more: Any) -> dict[str, Any]:
    request = chat_request(Server(side, Address("", 0), 0, []), "Hello.", max_tokens=5, more=more)
    decoded: dict[str, Any] = msgspec.json.decode(request.partition(b"\r\n\r\n")[2])
    return decoded


def test_answers_have_a_fixed_length_whatever_the_server_understands() -> None:
    assert body("gateway")["ignore_eos"] is True
    assert body("example-server")["logit_bias"] == {"0": -100, "2": -100}
    assert "ignore_eos" not in body("llama_cpp.server")


def test_more_goes_over_the_rest() -> None:
    assert body("gateway", stream=False)["stream"] is False
    assert "ignore_eos" not in body("gateway", ignore_eos=None)
