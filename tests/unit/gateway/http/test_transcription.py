"""POST /v1/audio/transcriptions and /v1/audio/translations over a scripted engine."""

import json
from typing import Any

import httpx
import pytest

from backends.protocol import TranscribeParameters, TranscriptDelta
from gateway.engine.errors import ModelFailed
from gateway.engine.stream import JobStream
from tests.unit.gateway.http.fakes import TRANSCRIPT, Site, assert_envelope, failure
from tests.unit.gateway.http.test_chat import frames

FILE = {"file": ("Grüße.wav", b"sound", "audio/wav")}


async def ask(site: Site, route: str = "transcriptions", **fields: Any) -> httpx.Response:
    data = {"model": "whisper-1"} | {name.replace("__", "[]"): value for name, value in fields.items()}
    return await site.client.post(f"/v1/audio/{route}", data=data, files=FILE)


@pytest.mark.parametrize(("route", "task"), [("transcriptions", "transcribe"), ("translations", "translate")])
async def test_the_job_carries_the_recording_and_what_was_asked(site: Site, route: str, task: str) -> None:
    response = await ask(site, route, temperature="0.5", language="de")
    assert response.json() == {"text": "Hello <there>.", "usage": {"type": "duration", "seconds": 3.25}}
    job, _ = site.engine.jobs[0]
    assert (job.model, job.task, job.stream) == ("parrot", task, False)
    assert job.parameters == TranscribeParameters(temperature=0.5, language="de")
    assert site.engine.recordings == [b"sound"]


@pytest.mark.parametrize(
    ("form", "media", "begins"),
    [
        ("json", "application/json", '{"text"'),
        ("verbose_json", "application/json", '{"task":"transcribe"'),
        ("text", "text/plain; charset=utf-8", "Hello"),
        ("srt", "text/plain; charset=utf-8", "1\n"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n"),
    ],
)
async def test_every_format_has_its_media_type(site: Site, form: str, media: str, begins: str) -> None:
    response = await ask(site, response_format=form)
    assert response.headers["content-type"] == media
    assert response.text.startswith(begins)


async def test_a_stream(site: Site) -> None:
    response = await ask(site, stream="true")
    assert response.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(frame) for frame in frames(response.text)]
    assert [one["type"] for one in told] == ["transcript.text.delta", "transcript.text.done"]
    assert site.engine.jobs[0][0].stream
    assert list(site.spool.iterdir()) == []


async def test_an_early_failure_of_a_stream_keeps_its_status(site: Site) -> None:
    site.engine.script = failure(ModelFailed("broken"))
    assert_envelope(await ask(site, stream="true"), 503)
    assert list(site.spool.iterdir()) == []


async def test_a_late_failure_of_a_stream_is_told_in_band(site: Site) -> None:
    def later(job: Any, stream: JobStream) -> None:
        stream.push(TranscriptDelta(job.id, 0, TRANSCRIPT.segments[:1]))
        stream.fail(ModelFailed("broken"))

    site.engine.script = later
    *_, last = frames((await ask(site, stream="true")).text)
    assert json.loads(last)["error"]["code"] == "model_failed"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "nope"}, 404, "model"),
        ({"model": "talker"}, 400, "model"),
        ({"response_format": "diarized_json"}, 400, "response_format"),
        ({"chunking_strategy[type]": "server_vad"}, 400, "chunking_strategy"),
        ({"timestamp_granularities__": "word"}, 400, "timestamp_granularities"),
        ({"seed": "1"}, 400, "seed"),
    ],
)
async def test_what_is_refused(site: Site, fields: dict[str, str], status: int, param: str) -> None:
    assert_envelope(await ask(site, **fields), status, param)
    assert site.engine.jobs == []
    assert list(site.spool.iterdir()) == []
