"""Chat requests that make every server do the same work: greedy, of a fixed length, streamed with usage.

Owns what is said differently to servers that lack a parameter.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.client import post
from benchmarks.servers import Server

PATH = "/v1/chat/completions"
_NO_IGNORE_EOS = ("example-server", "llama_cpp.server")
"""They leave out parameters that they do not know, so that a short answer would go unnoticed."""
_STARTER_ENDS = (0, 2)
"""End tokens of the starter model, which those servers are told to avoid by a bias."""


def chat_request(
    side: Server,
    prompt: str | Sequence[Mapping[str, str]],
    *,
    max_tokens: int,
    model: str = "bench",
    more: Mapping[str, Any] | None = None,
) -> bytes:
    """`prompt`: the user's message, or all messages. `more` goes over everything else; None takes away."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
    }
    if side.name in _NO_IGNORE_EOS:
        body["logit_bias"] = dict.fromkeys(map(str, _STARTER_ENDS), -100)
    else:
        body |= {"ignore_eos": True, "stream_options": {"include_usage": True}}
    body |= more or {}
    return post(PATH, {name: value for name, value in body.items() if value is not None})
