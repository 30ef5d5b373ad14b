"""A client of live sessions for the tests, and sounds for the fake engine to hear."""

import base64
import json
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.gateway_process import GatewayProcess

RATE = 24000


def tone(milliseconds: int, rate: int = RATE) -> bytes:
    """Loud: speech to the fake engine."""
    return array("h", [8000, -8000] * (milliseconds * rate // 2000)).tobytes()


def silence(milliseconds: int, rate: int = RATE) -> bytes:
    return bytes(milliseconds * rate // 1000 * 2)


def append(audio: bytes, **more: Any) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode()} | more


def update(**audio_input: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}}


class Live:
    """One open session."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.said: dict[str, str] = {}
        """What has come piece by piece, by item."""

    def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.socket.send(json.dumps(event))

    def next(self, timeout_s: float = 20.0) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.socket.recv(timeout_s))
        assert event["event_id"].startswith("event_")
        if event["type"].endswith("transcription.delta"):
            self.said[event["item_id"]] = self.said.get(event["item_id"], "") + event["delta"]
        return event

    def until(self, kind: str, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """Events up to the first of this type; one that is an error and was not asked for fails the test."""
        events = []
        while True:
            event = self.next(timeout_s)
            events.append(event)
            if event["type"] == kind:
                return events
            assert event["type"] != "error", event

    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.until("error")[-1]["error"]
        return error

    def transcript(self) -> str:
        """Of the next turn; what came piece by piece is the whole of it."""
        done = self.until("conversation.item.input_audio_transcription.completed")[-1]
        assert self.said[done["item_id"]] == done["transcript"]
        text: str = done["transcript"]
        return text


@contextmanager
def live(gateway: GatewayProcess, query: str = "model=fake", **options: Any) -> Iterator[Live]:
    """A session that has said `session.created`."""
    url = f"{gateway.base_url.replace('http', 'ws', 1)}/v1/realtime?{query}"
    with connect(url, **options) as socket:
        session = Live(socket)
        session.until("session.created")
        yield session
