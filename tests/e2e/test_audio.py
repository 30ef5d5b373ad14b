"""Speech there and back: the starter voice speaks, the starter Whisper writes down, by the OpenAI package."""

import base64
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from jiwer import wer
from openai import OpenAI

from tests.gateway_process import GatewayProcess
from tests.spoken import HARVARD

LINES = (
    "Glue the sheet to the dark blue background. It is easy to tell the depth of a well. "
    "Rice is often served in round bowls. The box was thrown beside the parked truck. "
)
FORMATS: list[Any] = ["mp3", "opus", "aac", "flac", "wav"]


def spoken(client: OpenAI, text: str = LINES, form: Any = "mp3") -> bytes:
    return client.audio.speech.create(
        model="tts-1", voice="alloy", input=text, response_format=form, extra_body={"seed": 0}
    ).content


def plain(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower()).strip()


@pytest.fixture(scope="module")
def clip(gateway: GatewayProcess) -> bytes:
    with OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", timeout=120) as client:
        return spoken(client)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_spoken_in_every_format_is_understood(client: OpenAI, form: Any) -> None:
    file = (f"speech.{form}", spoken(client, form=form))
    text = client.audio.transcriptions.create(model="whisper-1", file=file).text
    assert wer(plain(LINES), plain(text)) < 0.1


def test_a_file_grows_while_later_sentences_are_spoken(client: OpenAI, tmp_path: Path) -> None:
    came: list[float] = []
    with (
        client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=LINES * 4, response_format="wav"
        ) as answer,
        (tmp_path / "speech.wav").open("wb") as file,
    ):
        for data in answer.iter_bytes():
            file.write(data)
            came.append(time.monotonic())
    assert len(came) > 4
    assert came[-1] - came[0] > 0.1
    assert (tmp_path / "speech.wav").stat().st_size > 500_000


def test_events_are_the_same_audio(client: OpenAI) -> None:
    asked: Any = {"model": "tts-1", "voice": "alloy", "input": LINES, "response_format": "pcm"}
    with client.audio.speech.with_streaming_response.create(**asked, stream_format="sse") as answer:
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    *deltas, done = events
    audio = b"".join(base64.b64decode(delta["audio"]) for delta in deltas)
    assert abs(len(audio) - len(spoken(client, form="pcm"))) < 4800
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["output_tokens"] > 0


def test_times_of_segments_and_words(client: OpenAI, clip: bytes) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1",
        file=("speech.mp3", clip),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.words is not None
    assert answer.segments is not None
    assert answer.language == "english"
    assert len(answer.words) == len(answer.text.split())
    for pieces in (answer.words, answer.segments):
        times = [time for one in pieces for time in (one.start, one.end)]
        assert all(0 <= time <= answer.duration + 0.1 for time in times)
        assert [one.start for one in pieces] == sorted(one.start for one in pieces)
    assert answer.usage is not None
    assert answer.usage.seconds == pytest.approx(answer.duration)


@pytest.mark.parametrize(
    ("form", "begins"), [("text", "Glue"), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n00:0")]
)
def test_the_formats_of_text(client: OpenAI, clip: bytes, form: Any, begins: str) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", clip), response_format=form)
    assert str(answer).startswith(begins)


def test_a_stream_is_the_whole_text(client: OpenAI) -> None:
    lines = " ".join(HARVARD)  # longer than what the model hears at once
    file = ("long.mp3", spoken(client, lines))
    *deltas, done = client.audio.transcriptions.create(
        model="whisper-1", file=file, stream=True, include=["logprobs"]
    )
    assert len(deltas) > 1
    assert done.type == "transcript.text.done"
    text = "".join(delta.delta for delta in deltas if delta.type == "transcript.text.delta")
    assert text.strip() == done.text
    assert wer(plain(lines), plain(text)) < 0.1
    assert done.logprobs
    assert all(one.logprob is not None and one.logprob <= 0 for one in done.logprobs)


def test_clips_at_once_are_what_they_are_one_by_one(client: OpenAI) -> None:
    sentences = [sentence for sentence in LINES.split(". ") if sentence]
    clips = [("clip.wav", spoken(client, f"{sentence}.", "wav")) for sentence in sentences * 2]

    def heard(clip: Any) -> str:
        return client.audio.transcriptions.create(model="whisper-1", file=clip, language="en").text

    alone = [heard(clip) for clip in clips]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(heard, clips)) == alone


def test_the_short_forms(gateway: GatewayProcess) -> None:
    with httpx.Client(base_url=f"{gateway.base_url}/api/v1/audio", timeout=60) as client:
        speech = client.post("/speak", json={"text": "Rice is often served in round bowls."})
        assert speech.headers["content-type"] == "audio/wav"
        told = client.post("/transcribe", files={"file": speech.content}).json()
    assert (told["model"], told["language"]) == ("whisper-base", "en")
    assert wer("rice is often served in round bowls", plain(told["text"])) < 0.2


def test_what_is_no_recording_is_the_clients_fault(gateway: GatewayProcess) -> None:
    url = f"{gateway.base_url}/v1/audio/transcriptions"
    for data in (b"", b"no sound at all", b"RIFF\xff\xff\xff\xffWAVEfmt ", clip_head()):
        answer = httpx.post(url, data={"model": "whisper-1"}, files={"file": ("a.wav", data)}, timeout=60)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file"), answer.text


def clip_head() -> bytes:
    return b"OggS" + bytes(60)
