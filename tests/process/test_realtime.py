"""Live sessions from outside: a gateway, real workers that hear loudness, and a WebSocket."""

import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.gateway_process import GatewayProcess, wait_for
from tests.process.live import Live, append, live, silence, tone, update

MODEL = {
    "name": "fake",
    "backend": "fake",
    "tasks": ["transcribe", "generate"],
    "source": __file__,
    "preload": True,
    "aliases": ["whisper-1"],
}
CHAT = {**MODEL, "name": "chat", "tasks": ["generate"], "aliases": [], "preload": False}
SECOND = [silence(400), tone(1000), silence(700)]


def config(**sections: Any) -> dict[str, Any]:
    return {"models": [MODEL, CHAT], **sections}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess.serving(config(), tmp_path_factory.mktemp("live")) as gateway:
        yield gateway.wait_until_ready()


def speak(session: Live, *sounds: bytes, chunk: int = 4800) -> None:
    audio = b"".join(sounds)
    session.send(*(append(audio[start : start + chunk]) for start in range(0, len(audio), chunk)))


def worker_pid(gateway: GatewayProcess) -> int:
    return gateway.worker_pids()[0]


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("conversation.item.input_audio_") for event in events]


def test_a_turn_is_heard_told_and_transcribed_while_it_is_spoken(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        speak(session, *SECOND[:2])
        events = session.until("conversation.item.input_audio_transcription.delta")
        speak(session, *SECOND[2:])
        events += session.until("conversation.item.input_audio_transcription.completed")
        names = kinds(events)
        deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
        assert names[0] == "input_audio_buffer.speech_started"
        stopped = names.index("input_audio_buffer.speech_stopped")
        assert "transcription.delta" in names[:stopped], names
        assert [name for name in names[stopped:] if name != "transcription.delta"] == [
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "transcription.completed",
        ]
        done = events[-1]
        # 300 ms of padding, a second of speech, half a second of silence: seven quarters of a second.
        assert done["transcript"] == "".join(deltas) == "w0 w1 w2 w3 w4 w5 w6"
        assert done["usage"]["type"] == "duration"
        assert done["usage"]["seconds"] == pytest.approx(1.8, abs=0.1)
        assert events[0]["audio_start_ms"] == pytest.approx(100, abs=40)
        assert len({event["item_id"] for event in events if "item_id" in event}) == 1


def test_turns_follow_each_other(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        speak(session, *SECOND, *SECOND)
        first = session.until("conversation.item.input_audio_transcription.completed")
        second = session.until("conversation.item.input_audio_transcription.completed")
        committed = [e for e in first + second if e["type"] == "input_audio_buffer.committed"]
        assert committed[0]["previous_item_id"] is None
        assert committed[1]["previous_item_id"] == committed[0]["item_id"] != committed[1]["item_id"]


def test_without_turn_detection_a_commit_ends_the_turn(gateway: GatewayProcess) -> None:
    with live(gateway, "intent=transcription") as session:
        session.send(
            update(
                format={"type": "audio/pcm", "rate": 16000},
                turn_detection=None,
                transcription={"model": "whisper-1", "language": "en"},
            )
        )
        told = session.until("session.updated")[-1]["session"]["audio"]["input"]
        assert told["turn_detection"] is None
        assert told["format"] == {"type": "audio/pcm", "rate": 16000}
        session.send(append(silence(1000, 16000)), {"type": "input_audio_buffer.commit"})
        assert session.transcript() == "w0 w1 w2 w3"
        session.send({"type": "input_audio_buffer.commit", "event_id": "mine"})
        error = session.error()
        assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        session.send(append(silence(500, 16000)), {"type": "input_audio_buffer.clear"})
        session.until("input_audio_buffer.cleared")
        session.send(append(silence(250, 16000)), {"type": "input_audio_buffer.commit"})
        assert session.transcript() == "w0"


def test_an_older_client_is_answered_in_its_own_shape(gateway: GatewayProcess) -> None:
    url = f"{gateway.base_url.replace('http', 'ws', 1)}/v1/realtime?intent=transcription"
    with connect(url, additional_headers={"OpenAI-Beta": "realtime=v1"}) as opened:
        session = Live(opened)
        assert session.next()["type"] == "transcription_session.created"
        session.send(
            {
                "type": "transcription_session.update",
                "session": {
                    "input_audio_format": "pcm16",
                    "input_audio_transcription": {"model": "fake"},
                    "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
                },
            }
        )
        told = session.until("transcription_session.updated")[-1]["session"]
        assert told["turn_detection"]["silence_duration_ms"] == 300
        speak(session, tone(500), silence(500))
        assert "conversation.item.created" in kinds(session.until("conversation.item.created"))
        assert session.transcript()


@pytest.mark.parametrize(
    ("event", "param", "code"),
    [
        ({"type": "response.create"}, "type", "unsupported"),
        ({"type": "conversation.item.create", "item": {}}, "type", "unsupported"),
        ({"type": "no.such"}, "type", "unknown_event"),
        ({}, "type", "missing_required_parameter"),
        (append(b"\0"), "audio", "invalid_value"),
        ({"type": "input_audio_buffer.append", "audio": "%%%"}, "audio", "invalid_value"),
        ({"type": "input_audio_buffer.append"}, "audio", "missing_required_parameter"),
        (
            update(noise_reduction={"type": "near_field"}),
            "session.audio.input.noise_reduction",
            "unsupported_parameter",
        ),
        (
            update(turn_detection={"type": "semantic_vad"}),
            "session.audio.input.turn_detection.type",
            "unsupported_parameter",
        ),
        (
            update(turn_detection={"type": "server_vad", "threshold": 2}),
            "session.audio.input.turn_detection.threshold",
            "invalid_value",
        ),
        (
            update(format={"type": "audio/pcmu"}),
            "session.audio.input.format.type",
            "unsupported_parameter",
        ),
        (update(transcription={"model": "nobody"}), "model", "model_not_found"),
        (update(transcription={"model": "chat"}), "model", "model_task_mismatch"),
        (
            {"type": "session.update", "session": {"type": "realtime"}},
            "session.type",
            "unsupported_parameter",
        ),
        (
            {"type": "session.update", "session": {"type": "transcription", "tools": []}},
            "session.tools",
            "unknown_parameter",
        ),
    ],
)
def test_a_bad_event_is_told_and_harms_nothing(
    gateway: GatewayProcess, event: dict[str, Any], param: str, code: str
) -> None:
    with live(gateway) as session:
        session.send(event | {"event_id": "mine"})
        error = session.error()
        assert (error["param"], error["code"], error["event_id"]) == (param, code, "mine")
        assert error["message"]
        session.send(update(transcription={"language": "de"}))
        session.until("session.updated")


@pytest.mark.parametrize("message", ["no json", "[1]", '"text"', '{"type": 3}', "{" * 1000, b"\xff\xfe"])
def test_what_is_no_event_is_told(gateway: GatewayProcess, message: str | bytes) -> None:
    with live(gateway) as session:
        session.socket.send(message)
        assert session.error()["type"] == "invalid_request_error"


def test_a_message_over_the_limit_ends_the_connection(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        with contextlib.suppress(ConnectionClosed):  # it may be over before all of it is sent
            session.send(append(bytes(7 * 1024 * 1024)))
        with pytest.raises(ConnectionClosed) as closed:
            session.next()
        # What the client had still to send may cost it the goodbye.
        assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    assert gateway.get("/health/live").status_code == 200


def test_the_model_and_the_rate_stay_once_audio_has_come(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        speak(session, silence(100))
        session.send(update(format={"type": "audio/pcm", "rate": 16000}))
        assert session.error()["param"] == "session.audio.input.format"


@pytest.mark.parametrize(
    ("query", "code"), [("model=nobody", "model_not_found"), ("model=chat", "model_task_mismatch")]
)
def test_a_model_that_cannot_listen_is_told_and_the_socket_closed(
    gateway: GatewayProcess, query: str, code: str
) -> None:
    with connect(f"{gateway.base_url.replace('http', 'ws', 1)}/v1/realtime?{query}") as opened:
        session = Live(opened)
        assert session.error()["code"] == code
        with pytest.raises(ConnectionClosed) as closed:
            session.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_a_failing_turn_fails_alone(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        session.send(update(transcription={"prompt": "@error:0"}))
        speak(session, *SECOND, *SECOND)
        failed = session.until("conversation.item.input_audio_transcription.failed")[-1]
        assert failed["error"]["code"] == "transcription_failed"
        assert session.transcript()


def test_log_probabilities_come_where_they_are_asked_for(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        include = ["item.input_audio_transcription.logprobs"]
        session.send({"type": "session.update", "session": {"type": "transcription", "include": include}})
        session.until("session.updated")
        speak(session, *SECOND)
        done = session.until("conversation.item.input_audio_transcription.completed")[-1]
        assert done["logprobs"][0] == {"token": "w0", "logprob": -0.5, "bytes": [119, 48]}


def test_many_sessions_at_once_keep_to_themselves(gateway: GatewayProcess) -> None:
    lengths = [500, 1000, 1500, 2000]
    opened = [live(gateway) for _ in lengths]
    sessions = [manager.__enter__() for manager in opened]
    try:
        for session, length in zip(sessions, lengths, strict=True):
            speak(session, silence(400), tone(length), silence(700))
        words = [len(session.transcript().split()) for session in sessions]
        assert words == [5, 7, 9, 11]
        assert gateway.metric("sessions_open", model="fake") == len(lengths)
    finally:
        for manager in opened:
            manager.__exit__(None, None, None)
    wait_for(lambda: gateway.metric("sessions_open", model="fake") == 0, 5)


def test_an_idle_session_leaves_the_worker_to_others(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        speak(session, *SECOND)
        session.transcript()
        body = {"model": "fake", "messages": [{"role": "user", "content": "@tokens:3"}]}
        answer = httpx.post(f"{gateway.base_url}/v1/chat/completions", json=body, timeout=10)
        assert answer.json()["choices"][0]["message"]["content"] == "w0 w1 w2 "
        speak(session, *SECOND)
        assert session.transcript()


def test_an_abrupt_disconnect_ends_the_session(gateway: GatewayProcess) -> None:
    with live(gateway) as session:
        speak(session, tone(500))
        session.until("input_audio_buffer.speech_started")
        assert gateway.metric("sessions_open", model="fake") == 1
        linger = struct.pack("ii", 1, 0)
        session.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.dup2(os.open(os.devnull, os.O_RDWR), session.socket.socket.fileno())  # gone, without a goodbye
        wait_for(lambda: gateway.metric("sessions_open", model="fake") == 0, 5)
    wait_for(lambda: gateway.running("fake") == 0, 5)


def test_a_fast_feeder_is_slowed_down_and_memory_stays_bounded(gateway: GatewayProcess) -> None:
    """Five minutes of audio as fast as the socket takes it, to a worker that works 20 ms on each step."""
    import psutil

    process = psutil.Process(gateway.process.pid)
    with live(gateway) as session:
        session.send(update(transcription={"prompt": "@slow:20"}, turn_detection=None))
        session.until("session.updated")
        before = process.memory_info().rss
        chunk = append(silence(1000))
        grown = 0
        for second in range(300):
            session.send(chunk)
            if second % 28 == 27:
                session.send({"type": "input_audio_buffer.commit"})
                grown = max(grown, process.memory_info().rss - before)
        session.until("conversation.item.input_audio_transcription.completed", 60)
        assert grown < 24 * 2**20


def test_the_key_of_a_browser_comes_among_the_subprotocols(tmp_path: Path) -> None:
    from gateway.keys import KeyRing

    keys = tmp_path / "keys.json"
    secret = KeyRing.open(keys).create("browser", {"api"})
    with GatewayProcess.serving(
        config(auth={"keys_file": str(keys)}, log={"level": "debug"}), tmp_path
    ) as gateway:
        gateway_url = f"{gateway.base_url.replace('http', 'ws', 1)}/v1/realtime?model=fake"
        with connect(gateway_url, subprotocols=["realtime", f"openai-insecure-api-key.{secret}"]) as opened:  # type: ignore[list-item]
            assert opened.subprotocol == "realtime"
            assert Live(opened).next()["type"] == "session.created"
        for bad in ({}, {"subprotocols": ["realtime", "openai-insecure-api-key.wrong"]}):
            with pytest.raises(InvalidStatus) as refused, connect(gateway_url, **bad):  # type: ignore[arg-type]
                pass
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body or b"")["error"]["type"] == "authentication_error"
    assert secret not in (tmp_path / "log").read_text()


def test_a_foreign_origin_is_refused(gateway: GatewayProcess) -> None:
    url = f"{gateway.base_url.replace('http', 'ws', 1)}/v1/realtime?model=fake"
    with pytest.raises(InvalidStatus) as refused, connect(url, origin="https://evil.example"):  # type: ignore[arg-type]
        pass
    assert refused.value.response.status_code == 403


def test_the_worker_s_death_is_told_and_the_model_comes_back(tmp_path: Path) -> None:
    with GatewayProcess.serving(config(), tmp_path) as gateway:
        gateway.wait_until_ready()
        with live(gateway) as session:
            speak(session, tone(500))
            session.until("input_audio_buffer.speech_started")
            os.kill(worker_pid(gateway), signal.SIGKILL)
            assert session.error()["code"] == "worker_died"
            with pytest.raises(ConnectionClosed) as closed:
                session.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
        with live(gateway) as session:
            speak(session, *SECOND)
            assert session.transcript()


def test_the_watchdog_spares_idle_sessions_and_strikes_hung_ones(tmp_path: Path) -> None:
    with GatewayProcess.serving(config(timeouts={"step_s": 2.5}), tmp_path) as gateway:
        gateway.wait_until_ready()
        with live(gateway) as session:
            session.send(update(transcription={"prompt": "@hang:1"}))
            speak(session, *SECOND)
            assert session.transcript()
            time.sleep(5.5)
            speak(session, *SECOND)
            assert session.error()["code"] == "worker_died"


def test_limits_of_sessions(tmp_path: Path) -> None:
    models = [MODEL | {"max_sessions": 1}]
    timeouts = {"session_idle_s": 4.0, "session_s": 6.0, "request_s": 1.0}
    with GatewayProcess.serving({"models": models, "timeouts": timeouts}, tmp_path) as gateway:
        gateway.wait_until_ready()
        with live(gateway) as first, live(gateway) as second:
            speak(first, silence(100))
            wait_for(lambda: gateway.metric("sessions_open", model="fake") == 1, 10)
            speak(second, silence(100))
            assert second.error()["code"] == "too_many_sessions"
            assert first.error()["code"] == "session_idle"
        with live(gateway) as session:
            started_at = time.monotonic()
            speak_until_closed(session)
            assert 5 < time.monotonic() - started_at < 30
            assert session.error()["code"] == "session_expired"


def speak_until_closed(session: Live) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            speak(session, silence(100))
            time.sleep(0.2)


def test_a_shutdown_finishes_what_was_said(tmp_path: Path) -> None:
    with GatewayProcess.serving(config(), tmp_path) as gateway:
        gateway.wait_until_ready()
        with live(gateway) as session:
            speak(session, tone(1000))
            session.until("input_audio_buffer.speech_started")
            gateway.process.send_signal(signal.SIGTERM)
            assert session.transcript()
            assert session.error()["code"] == "shutting_down"
            with pytest.raises(ConnectionClosed) as closed:
                session.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert gateway.process.wait(10) == 0


def test_a_client_that_stops_reading_is_cut_off(tmp_path: Path) -> None:
    with GatewayProcess.serving(config(timeouts={"send_s": 1.0}), tmp_path) as gateway:
        gateway.wait_until_ready()
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.sendall(
                b"GET /v1/realtime?model=fake HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
                b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
                b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            bad = b'{"type":"no.such"}'
            frame = bytes([0x81, 0x80 | len(bad), 0, 0, 0, 0]) + bad
            raw.settimeout(20)
            with pytest.raises((ConnectionError, BrokenPipeError)):
                send_for_ever(raw, frame * 100)


def send_for_ever(raw: socket.socket, data: bytes) -> None:
    while True:
        raw.sendall(data)


def test_audio_that_comes_while_the_model_loads_is_kept(tmp_path: Path) -> None:
    cold = MODEL | {"preload": False, "parameters": {"load_ms": 1500}}
    with GatewayProcess.serving({"models": [cold]}, tmp_path) as gateway, live(gateway) as session:
        speak(session, *SECOND)
        assert session.transcript() == "w0 w1 w2 w3 w4 w5 w6"
        assert gateway.metric("session_audio_seconds_total", model="fake") == pytest.approx(2.1)
