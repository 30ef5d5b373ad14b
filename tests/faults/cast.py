"""Who plays in a row: a scripted model, or the starter model for chat.

Owns the configuration of the gateway and the requests that suit its models.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from config.load import load_config
from tests.faults.table import Stage

CHAT = "/v1/chat/completions"
_STARTER = "smollm2-135m-instruct"


def fake(name: str = "fake", *, replicas: int = 1, preload: bool = True, **parameters: Any) -> dict[str, Any]:
    """A scripted model that chats, as it stands in the configuration."""
    return {
        "name": name,
        "backend": "fake",
        "tasks": ["generate"],
        "source": __file__,
        "preload": preload,
        "replicas": replicas,
        "parameters": parameters,
    }


def starter(*, replicas: int = 1, **changes: Any) -> dict[str, Any]:
    """The starter model for chat, as config/default.yaml has it."""
    spec = next(spec for spec in load_config().models if spec.name == _STARTER)
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    settings = {name: value for name, value in plain.items() if value not in (None, [], {})}
    return settings | {"replicas": replicas, "preload": True} | changes


def chat(text: str, *, model: str = "fake", stream: bool = True, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "stream": stream, **fields}


class Cast:
    """The model of rows that run on either kind."""

    def __init__(self, stage: Stage) -> None:
        self._starter = stage.models == "starter"
        self.name = _STARTER if self._starter else "fake"
        self.load_bound_s = 10.0 if self._starter else 0.5
        """What a load may take at most, where the gateway has not measured one."""

    def config(
        self, *, replicas: int = 1, step_ms: float = 10.0, max_sequences: int = 16, **sections: Any
    ) -> dict[str, Any]:
        """`step_ms` is a fake step; the starter model takes what it takes."""
        model = (
            starter(replicas=replicas)
            if self._starter
            else fake(replicas=replicas, step_ms=step_ms, max_sequences=max_sequences)
        )
        return {"models": [model], **sections}

    def request(self, tokens: int, *, stream: bool = True) -> Mapping[str, Any]:
        """A request that is answered with so many tokens."""
        if not self._starter:
            return chat(f"@tokens:{tokens}", stream=stream)
        text = "Count from one to a thousand."
        return chat(text, model=self.name, stream=stream, max_tokens=tokens, ignore_eos=True)
