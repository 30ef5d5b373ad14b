"""Events of live sessions: what clients send, what they are told."""

import base64
import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from backends.protocol import (
    Cleared,
    Committed,
    Description,
    SessionParameters,
    SpeechStarted,
    SpeechStopped,
    TokenLogprob,
    TurnDone,
    TurnFailed,
    TurnText,
    VoiceActivity,
)
from compat.errors import InvalidRequest
from compat.openai.realtime import AppendAudio, BadEvent, ServerEvents, UpdateSession, read_event
from compat.openai.realtime_settings import Settings, check, render, render_older

SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def read(event: dict[str, Any]) -> Any:
    return read_event(json.dumps(event).encode())


def updated(settings: Settings, **session: Any) -> Settings:
    event = read({"type": "session.update", "session": {"type": "transcription"} | session})
    assert isinstance(event, UpdateSession)
    return settings.updated(event.session)


def with_input(settings: Settings, **audio_input: Any) -> Settings:
    return updated(settings, audio={"input": audio_input})


def events(*, older: bool = False) -> ServerEvents:
    numbers = count(1)
    return ServerEvents(lambda prefix: f"{prefix}_{next(numbers)}", older=older)


def told(rendered: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(event) for event in rendered]


def test_audio_comes_as_bytes() -> None:
    event = read({"type": "input_audio_buffer.append", "audio": base64.b64encode(b"\1\2").decode()})
    assert event == AppendAudio("input_audio_buffer.append", audio=b"\1\2")


@pytest.mark.parametrize(
    ("event", "event_id"),
    [
        ({"type": "session.update", "event_id": "e"}, "e"),
        ({"type": "session.update", "event_id": 3}, None),
        ({"type": "x", "event_id": "e" * 513}, None),
        ({"type": "input_audio_buffer.clear", "event_id": "e" * 513}, None),
        ({"type": "input_audio_buffer.clear", "more": 1, "event_id": "e"}, "e"),
    ],
)
def test_a_bad_event_is_refused_under_its_own_id(event: dict[str, Any], event_id: str | None) -> None:
    with pytest.raises(BadEvent) as bad:
        read(event)
    assert bad.value.event_id == event_id


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_nothing_else_than_a_refusal_comes_of_what_is_no_event(body: bytes) -> None:
    with pytest.raises(BadEvent):
        read_event(body)


def test_what_an_update_leaves_out_stays_and_null_resets() -> None:
    first = with_input(
        Settings("m"),
        format={"type": "audio/pcm", "rate": 16000},
        transcription={"model": "other", "language": "de", "prompt": "Names"},
        turn_detection={"type": "server_vad", "silence_duration_ms": 200},
    )
    assert first == Settings(
        "other", SessionParameters(16000, "de", "Names", VoiceActivity(silence_duration_ms=200))
    )
    second = with_input(first, transcription={"language": None}, turn_detection=None)
    assert second == Settings("other", SessionParameters(16000, "", "Names", None))
    assert with_input(second, format=None).parameters.sample_rate == 24000


def test_log_probabilities_only_of_models_that_have_them() -> None:
    settings = updated(Settings("m"), include=["item.input_audio_transcription.logprobs"])
    check(settings, Description(["listen"], ["logprobs"]))
    with pytest.raises(InvalidRequest) as refused:
        check(settings, Description(["listen"], []))
    assert refused.value.param == "session.include"
    with pytest.raises(InvalidRequest):
        updated(settings, include=["something.else"])


def test_a_language_that_the_model_does_not_know_is_refused() -> None:
    settings = with_input(Settings("m"), transcription={"language": "de"})
    check(settings, Description(["listen"], [], languages=["de"]))
    with pytest.raises(InvalidRequest):
        check(settings, Description(["listen"], [], languages=["en"]))


def test_responses_that_nobody_asks_for_are_fine() -> None:
    detection = {"type": "server_vad", "create_response": False, "interrupt_response": None}
    with_input(Settings("m"), turn_detection=detection)
    with pytest.raises(InvalidRequest) as refused:
        with_input(Settings("m"), turn_detection=detection | {"create_response": True})
    assert refused.value.param == "session.audio.input.turn_detection.create_response"


def test_a_session_is_told_as_it_is_set() -> None:
    settings = with_input(Settings("m"), turn_detection={"type": "server_vad", "threshold": 0.7})
    audio = render(settings, "sess_1", 5)["audio"]["input"]
    assert audio["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.7,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
    }
    assert audio["transcription"] == {"model": "m", "language": None, "prompt": None}
    assert render_older(settings, "sess_1", 5)["input_audio_format"] == "pcm16"


def test_a_turn_is_told_under_one_item() -> None:
    told_of = events()
    outputs = [
        SpeechStarted("s", 0, 100),
        TurnText("s", 0, "one"),
        SpeechStopped("s", 0, 900),
        Committed("s", 0),
        TurnText("s", 0, " two"),
        TurnDone("s", 0, "one two three", 0.8, "en", [TokenLogprob(b"one", -0.25)]),
    ]
    told_all = [event for output in outputs for event in told(told_of.render(output))]
    for event in told_all:
        SERVER_EVENT.validate_python(event)
    ids = {event.get("item_id") or event["item"]["id"] for event in told_all}
    assert len(ids) == 1
    deltas = [event["delta"] for event in told_all if event["type"].endswith(".delta")]
    assert deltas == ["one", " two", " three"]
    done = told_all[-1]
    assert done["transcript"] == "one two three"
    assert done["usage"] == {"type": "duration", "seconds": 0.8}
    assert done["logprobs"] == [{"token": "one", "logprob": -0.25, "bytes": [111, 110, 101]}]


def test_a_turn_that_was_cleared_is_forgotten_with_the_next() -> None:
    told_of = events()
    told_of.render(TurnText("s", 0, "one"))
    assert told(told_of.render(Cleared("s")))[0]["type"] == "input_audio_buffer.cleared"
    told_of.render(Committed("s", 1))
    (completed,) = told(told_of.render(TurnDone("s", 1, "", 0.1)))
    assert completed["transcript"] == ""
    assert told_of._items == told_of._sent == {}


def test_a_failed_turn_says_why() -> None:
    (failed,) = told(events().render(TurnFailed("s", 0, "no room")))
    assert failed["type"] == "conversation.item.input_audio_transcription.failed"
    assert failed["error"]["message"] == "no room"


def test_older_clients_hear_of_items_that_are_created() -> None:
    kinds = [event["type"] for event in told(events(older=True).render(Committed("s", 0)))]
    assert kinds == ["input_audio_buffer.committed", "conversation.item.created"]
