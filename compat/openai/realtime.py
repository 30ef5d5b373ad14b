"""The events of a live transcription session as JSON. Pure: no socket, no engine.

Audio comes as base64 inside JSON: decoding costs time in an event's length, so large ones belong on a thread.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from backends.protocol import (
    Cleared,
    Committed,
    SessionOutput,
    SpeechStarted,
    SpeechStopped,
    TokenLogprob,
    TurnDone,
    TurnFailed,
    TurnText,
)
from compat.decoding import decode
from compat.errors import InvalidRequest, invalid
from compat.openai.realtime_settings import OlderSessionUpdate, SessionUpdate

_LONGEST_EVENT_ID = 512


class ClientEvent(Struct, frozen=True, forbid_unknown_fields=True):
    """Base of what a client sends."""

    type: str
    event_id: str | None = None


class UpdateSession(ClientEvent, frozen=True, kw_only=True):
    session: SessionUpdate


class UpdateOlderSession(ClientEvent, frozen=True, kw_only=True):
    session: OlderSessionUpdate


class AppendAudio(ClientEvent, frozen=True, kw_only=True):
    audio: bytes


class CommitAudio(ClientEvent, frozen=True):
    """End the turn."""


class ClearAudio(ClientEvent, frozen=True):
    """Forget what was said in it."""


Event = UpdateSession | UpdateOlderSession | AppendAudio | CommitAudio | ClearAudio

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "session.update": msgspec.json.Decoder(UpdateSession),
    "transcription_session.update": msgspec.json.Decoder(UpdateOlderSession),
    "input_audio_buffer.append": msgspec.json.Decoder(AppendAudio),
    "input_audio_buffer.commit": msgspec.json.Decoder(CommitAudio),
    "input_audio_buffer.clear": msgspec.json.Decoder(ClearAudio),
}
_OF_CONVERSATIONS = ("response.", "conversation.", "output_audio_buffer.")


class _Head(Struct, frozen=True):
    type: str
    event_id: str | UnsetType | None = UNSET


class _Identity(Struct, frozen=True):
    event_id: str


_head = msgspec.json.Decoder(_Head)
_identity = msgspec.json.Decoder(_Identity)


class BadEvent(Exception):
    """An event that cannot be followed; `event_id` is the client's, as far as it could be read."""

    def __init__(self, refusal: InvalidRequest, event_id: str | None) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.event_id = event_id


def read_event(body: bytes) -> Event:
    """Raises BadEvent."""
    try:
        kind = decode(body, _head).type
        decoder = _DECODERS.get(kind)
        if decoder is None:
            raise _unknown(kind)
        event: Event = decode(body, decoder)
        if isinstance(event, AppendAudio) and len(event.audio) % 2:
            raise invalid("audio", "it must be whole 16-bit samples.")
        if len(event.event_id or "") > _LONGEST_EVENT_ID:
            raise invalid("event_id", f"at most {_LONGEST_EVENT_ID} characters.")
        return event
    except InvalidRequest as refusal:
        raise BadEvent(refusal, _event_id(body)) from None


def _event_id(body: bytes) -> str | None:
    try:
        event_id = _identity.decode(body).event_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return event_id if len(event_id) <= _LONGEST_EVENT_ID else None


def _unknown(kind: str) -> InvalidRequest:
    if kind.startswith(_OF_CONVERSATIONS):
        message = f"'{kind[:64]}' is not of transcription sessions, which alone are served here."
        return InvalidRequest(message, "type", "unsupported")
    return InvalidRequest("This 'type' of event is not known.", "type", "unknown_event")


class ServerEvents:
    """The events that tell a client of its session; `new_id(prefix)` makes identities."""

    def __init__(self, new_id: Callable[[str], str], *, older: bool) -> None:
        self.older = older
        """Events as before sessions of type transcription, where they differ."""
        self._new_id = new_id
        self._items: dict[int, str] = {}
        """Identity of each turn that is not over."""
        self._last_item: str | None = None
        self._sent: dict[int, str] = {}

    def session(self, change: str, session: dict[str, Any]) -> bytes:
        """`change`: created or updated."""
        kind = "transcription_session" if self.older else "session"
        return self._event(f"{kind}.{change}", session=session)

    def error(
        self, kind: str, message: str, *, code: str | None, param: str | None, event_id: str | None
    ) -> bytes:
        return self._event("error", error=_error(kind, message, code, param) | {"event_id": event_id})

    def render(self, output: SessionOutput) -> list[bytes]:
        """What the client is told of an output, but for refusals."""
        match output:
            case SpeechStarted(turn=turn, start_ms=start_ms):
                name = "input_audio_buffer.speech_started"
                return [self._event(name, item_id=self._item(turn), audio_start_ms=start_ms)]
            case SpeechStopped(turn=turn, end_ms=end_ms):
                name = "input_audio_buffer.speech_stopped"
                return [self._event(name, item_id=self._item(turn), audio_end_ms=end_ms)]
            case Committed(turn=turn):
                return self._committed(turn)
            case Cleared():
                return [self._event("input_audio_buffer.cleared")]
            case TurnText(turn=turn, text=text):
                return [self._delta(turn, text)]
            case TurnDone():
                return self._completed(output)
            case TurnFailed(turn=turn, message=message):
                error = _error("server_error", message, "transcription_failed", None)
                return [self._ended(turn, "failed", error=error)]
        return []

    def _committed(self, turn: int) -> list[bytes]:
        item_id, previous = self._item(turn), self._last_item
        self._last_item = item_id
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        names = ["conversation.item.created"] if self.older else _ITEM_EVENTS
        return [
            self._event("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous),
            *(self._event(name, item=item, previous_item_id=previous) for name in names),
        ]

    def _completed(self, done: TurnDone) -> list[bytes]:
        said = self._sent.get(done.turn, "")
        rest = done.text[len(said) :]
        usage = {"type": "duration", "seconds": round(done.duration_s, 3)}
        fields: dict[str, Any] = {"transcript": done.text, "usage": usage}
        if done.logprobs:
            fields["logprobs"] = [_logprob(token) for token in done.logprobs]
        delta = [self._delta(done.turn, rest)] if rest else []
        return [*delta, self._ended(done.turn, "completed", **fields)]

    def _delta(self, turn: int, text: str) -> bytes:
        self._sent[turn] = self._sent.get(turn, "") + text
        return self._event(f"{_TRANSCRIPTION}.delta", item_id=self._item(turn), content_index=0, delta=text)

    def _ended(self, turn: int, how: str, **fields: Any) -> bytes:
        item_id = self._item(turn)
        for ended in [known for known in self._items if known <= turn]:  # cleared turns among them
            self._items.pop(ended)
            self._sent.pop(ended, None)
        return self._event(f"{_TRANSCRIPTION}.{how}", item_id=item_id, content_index=0, **fields)

    def _item(self, turn: int) -> str:
        if turn not in self._items:
            self._items[turn] = self._new_id("item")
        return self._items[turn]

    def _event(self, kind: str, **fields: Any) -> bytes:
        return msgspec.json.encode({"type": kind, "event_id": self._new_id("event"), **fields})


_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_ITEM_EVENTS = ["conversation.item.added", "conversation.item.done"]


def _error(kind: str, message: str, code: str | None, param: str | None) -> dict[str, Any]:
    return {"type": kind, "code": code, "message": message, "param": param}


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.token.decode("utf-8", "replace"),
        "logprob": -9999.0 if token.logprob is None else token.logprob,
        "bytes": list(token.token),
    }
