"""Speech as the official OpenAI package asks for it, of a gateway process over the fake engine."""

import io
import socket
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import OpenAI

from tests.gateway_process import GatewayProcess, wait_for

MODEL = "whisper-1"
CLIP = ("clip.wav", b"RIFF @say Good morning, Ada.")
TEXT = "Good morning, Ada."


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    model = {
        "name": "parrot",
        "aliases": [MODEL, "tts-1"],
        "backend": "fake",
        "tasks": ["transcribe", "translate", "speak"],
        "source": ".",
        "preload": True,
        "parameters": {"tokens": 4},
    }
    config = {
        "models": [model],
        "paths": {"spool_dir": str(folder / "spool")},
        "limits": {"upload_bytes": 5_000_000},
    }
    with GatewayProcess.serving(config, folder) as process:
        yield process.wait_until_ready()
    assert list((folder / "spool").iterdir()) == []


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


# --- transcripts -----------------------------------------------------------------------------------------


def test_json(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model=MODEL, file=CLIP, include=["logprobs"], language="de", prompt="Ada", temperature=0.5
    )
    assert answer.text == TEXT
    assert answer.usage is not None
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == 3.0
    assert answer.logprobs is not None
    assert [one.token for one in answer.logprobs] == [" Good", " morning,", " Ada."]


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("text", f"{TEXT}\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nGood\n\n2\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nGood\n\n"),
    ],
)
def test_the_formats_of_text(client: OpenAI, form: Literal["text", "srt", "vtt"], begins: str) -> None:
    answer = client.audio.transcriptions.create(model=MODEL, file=CLIP, response_format=form)
    assert isinstance(answer, str)
    assert answer.startswith(begins)


@pytest.mark.parametrize("granularities", [["word"], ["segment"], ["word", "segment"], []])
def test_verbose_json(client: OpenAI, granularities: Any) -> None:
    answer = client.audio.transcriptions.create(
        model=MODEL, file=CLIP, response_format="verbose_json", timestamp_granularities=granularities
    )
    assert (answer.text, answer.language, answer.duration) == (TEXT, "english", 3.0)
    assert (answer.words is not None) == ("word" in granularities)
    assert (answer.segments is not None) == (granularities != ["word"])
    if answer.words:
        assert [(word.word, word.start, word.end) for word in answer.words][2] == ("Ada.", 2.0, 2.5)
    if answer.segments:
        assert [segment.text for segment in answer.segments] == [" Good", " morning,", " Ada."]


def test_a_translation(client: OpenAI) -> None:
    with pytest.warns(
        DeprecationWarning, match="deprecated"
    ):  # the package warns of OpenAI's own models' end
        assert client.audio.translations.create(model=MODEL, file=CLIP).text == TEXT


def test_a_stream_comes_while_the_rest_is_still_to_be_heard(client: OpenAI) -> None:
    clip = ("clip.wav", b"RIFF @tokens:5 @slow:500")
    came: list[tuple[float, Any]] = []
    for event in client.audio.transcriptions.create(
        model=MODEL, file=clip, stream=True, chunking_strategy={"type": "server_vad", "threshold": 0.3}
    ):
        came.append((time.monotonic(), event))
    assert [event.type for _, event in came] == ["transcript.text.delta"] * 5 + ["transcript.text.done"]
    assert "".join(event.delta for _, event in came[:-1]) == came[-1][1].text
    assert came[-1][0] - came[0][0] > 0.5


def test_a_verbose_stream_has_segments(client: OpenAI) -> None:
    events = list(
        client.audio.transcriptions.create(
            model=MODEL, file=CLIP, stream=True, response_format="verbose_json"
        )
    )
    told = [event for event in events if event.type == "transcript.text.segment"]
    assert [(event.text, event.start, event.end) for event in told][1] == (" morning,", 1.0, 2.0)


def test_what_no_model_here_does_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model=MODEL, file=CLIP, response_format="diarized_json")
    assert caught.value.param == "response_format"


def test_an_empty_file_is_the_clients_fault(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model=MODEL, file=("a.wav", b""))
    assert (caught.value.param, caught.value.code) == ("file", "invalid_audio")


def test_a_fault_in_the_middle_of_a_stream_reaches_the_client(client: OpenAI) -> None:
    clip = ("clip.wav", b"RIFF @tokens:5 @slow:20 @error:2")
    stream = client.audio.transcriptions.create(model=MODEL, file=clip, stream=True)
    assert next(stream).type == "transcript.text.delta"
    with pytest.raises(openai.APIError):
        list(stream)


def test_a_client_that_leaves_frees_the_model(gateway: GatewayProcess, client: OpenAI) -> None:
    clip = ("clip.wav", b"RIFF @tokens:100000 @slow:20")
    with client.audio.transcriptions.create(model=MODEL, file=clip, stream=True) as stream:
        next(iter(stream))
        wait_for(lambda: gateway.running("parrot") == 1, 5)
    wait_for(lambda: gateway.running("parrot") == 0, 10)


# --- speech ----------------------------------------------------------------------------------------------

TENTH = 2 * 2400
"""Bytes of a piece of pcm."""


def test_speech_is_a_file_of_the_format(client: OpenAI) -> None:
    magic: dict[Any, bytes] = {
        "mp3": b"ID3",
        "opus": b"OggS",
        "aac": b"\xff\xf1",
        "flac": b"fLaC",
        "wav": b"RIFF",
    }
    for form, begins in magic.items():
        answer = client.audio.speech.create(model="tts-1", voice="alloy", input="Hi", response_format=form)
        assert answer.content.startswith(begins)
    answer = client.audio.speech.create(
        model="tts-1", voice="low", input="Hi", response_format="pcm", speed=2
    )
    assert len(answer.content) == 4 * TENTH // 2


def test_wav_can_be_played(client: OpenAI) -> None:
    answer = client.audio.speech.create(model="tts-1", voice="high", input="Hi", response_format="wav")
    assert answer.response.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
    assert len(answer.content) == 44 + 4 * TENTH


def test_a_file_grows_while_the_rest_is_spoken(client: OpenAI, tmp_path: Path) -> None:
    sizes = []
    with (
        client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input="@tokens:6 @slow:500", response_format="pcm"
        ) as answer,
        (tmp_path / "speech.pcm").open("wb", buffering=0) as file,
    ):
        for data in answer.iter_bytes():
            file.write(data)
            sizes.append((time.monotonic(), (tmp_path / "speech.pcm").stat().st_size))
    assert sizes[-1][1] == 6 * TENTH
    assert len(sizes) >= 4
    assert sizes[-1][0] - sizes[0][0] > 0.4


def test_speech_as_events(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hi there", response_format="pcm", stream_format="sse"
    ) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert ['"speech.audio.delta"' in event for event in events] == [True] * 4 + [False]
    assert '"usage":{"input_tokens":2,"output_tokens":4,"total_tokens":6}' in events[-1]


def test_an_unknown_voice_is_told_with_the_known_ones(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(model="tts-1", voice="loud", input="Hi")
    assert caught.value.param == "voice"
    assert "low, high" in caught.value.message


def test_a_failure_before_the_first_byte_has_a_status(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        client.audio.speech.create(model="tts-1", voice="alloy", input="@error:0")


@pytest.mark.parametrize("fault", ["@error:2", "@die:2"])
def test_a_failure_on_the_way_is_no_shorter_file(gateway: GatewayProcess, fault: str) -> None:
    gateway.wait_until_ready()
    body = {"model": "tts-1", "input": f"@tokens:9 @slow:100 {fault}", "response_format": "pcm"}
    with httpx.stream("POST", f"{gateway.base_url}/v1/audio/speech", json=body, timeout=20) as answer:
        pieces = answer.iter_bytes()
        assert (answer.status_code, len(next(pieces)) > 0) == (200, True)
        with pytest.raises(httpx.TransportError):
            list(pieces)
    gateway.wait_until_ready()


def test_a_listener_who_leaves_frees_the_model(gateway: GatewayProcess, client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="@tokens:100000 @slow:20", response_format="pcm"
    ) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        wait_for(lambda: gateway.running("parrot") == 1, 5)
    wait_for(lambda: gateway.running("parrot") == 0, 10)


def test_a_listener_who_leaves_before_the_first_byte_frees_it_too(gateway: GatewayProcess) -> None:
    body = b'{"model":"tts-1","input":"@tokens:3 @slow:3000","stream_format":"audio"}'
    head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_for(lambda: gateway.running("parrot") == 1, 5)
    wait_for(lambda: gateway.running("parrot") == 0, 10)
