"""POST /v1/audio/speech and the lists beside it, over a scripted engine."""

import base64
import json
from typing import Any

import httpx
import pytest

from backends.protocol import AudioDelta, Finished, ItemDone, Job, SpeakParameters, SpeechResult, Text
from config.schema import LimitsConfig
from gateway.engine.errors import ModelFailed
from gateway.engine.stream import JobStream
from tests.unit.gateway.http.fakes import AUDIO_DESCRIPTION, Site, assert_envelope, failure, open_site
from tests.unit.gateway.http.test_chat import frames


async def speak(site: Site, **fields: Any) -> httpx.Response:
    return await site.client.post("/v1/audio/speech", json={"model": "tts-1", "input": "Hi"} | fields)


@pytest.mark.parametrize("voice", ["high", {"id": "high"}])
async def test_the_job_carries_what_was_asked(site: Site, voice: Any) -> None:
    response = await speak(site, voice=voice, response_format="wav", speed=1.5)
    assert (response.status_code, response.content) == (200, b"RIFFmore")
    job, _ = site.engine.jobs[0]
    assert (job.model, job.task, job.items) == ("parrot", "speak", [Text("Hi")])
    assert job.parameters == SpeakParameters(voice="high", format="wav", speed=1.5)


@pytest.mark.parametrize(
    ("form", "media"),
    [
        (None, "audio/mpeg"),
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
        ("pcm", "audio/pcm"),
    ],
)
async def test_every_format_has_its_media_type(site: Site, form: str | None, media: str) -> None:
    response = await speak(site, response_format=form)
    assert response.headers["content-type"] == media
    assert site.engine.jobs[0][0].parameters == SpeakParameters(format=form or "mp3")  # type: ignore[arg-type]


async def test_events(site: Site) -> None:
    response = await speak(site, stream_format="sse")
    assert response.headers["content-type"].startswith("text/event-stream")
    *deltas, done = [json.loads(frame) for frame in frames(response.text)]
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == b"RIFFmore"
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 4, "output_tokens": 9, "total_tokens": 13},
    }


@pytest.mark.parametrize("form", ["audio", "sse"])
async def test_an_early_failure_keeps_its_status(site: Site, form: str) -> None:
    site.engine.script = failure(ModelFailed("broken"))
    assert_envelope(await speak(site, stream_format=form), 503)


async def test_a_late_failure_is_told_in_band(site: Site) -> None:
    def late(job: Job, stream: JobStream) -> None:
        stream.push(AudioDelta(job.id, 0, b"RIFF"))
        stream.fail(ModelFailed("broken"))

    site.engine.script = late
    *_, last = frames((await speak(site, stream_format="sse")).text)
    assert json.loads(last)["error"]["code"] == "model_failed"


async def test_a_text_without_sound_is_an_empty_file(site: Site) -> None:
    def silent(job: Job, stream: JobStream) -> None:
        stream.push(ItemDone(job.id, 0, SpeechResult(0, 0, 0)))
        stream.push(Finished(job.id))
        stream.end()

    site.engine.script = silent
    response = await speak(site)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "nope"}, 404, "model"),
        ({"model": "talker"}, 400, "model"),
        ({"input": ""}, 400, "input"),
        ({"input": " \n"}, 400, "input"),
        ({"voice": "loud"}, 400, "voice"),
        ({"voice": {"id": "loud"}}, 400, "voice"),
        ({"voice": {"name": "high"}}, 400, "voice.name"),
        ({"voice": 3}, 400, "voice"),
        ({"speed": 4.5}, 400, "speed"),
        ({"speed": 0.2}, 400, "speed"),
        ({"response_format": "midi"}, 400, "response_format"),
        ({"stream_format": "video"}, 400, "stream_format"),
        ({"instructions": "whisper"}, 400, "instructions"),
        ({"seed": 1}, 400, "seed"),
        ({"language": "de"}, 400, "language"),
        ({"pitch": 1}, 400, "pitch"),
    ],
)
async def test_what_is_refused(site: Site, fields: dict[str, Any], status: int, param: str) -> None:
    error = assert_envelope(await speak(site, **fields), status, param)
    if fields.get("voice") == "loud":
        assert "low, high" in error["message"]
    assert site.engine.jobs == []


@pytest.mark.parametrize(
    "fields", [{"voice": "alloy"}, {"voice": None}, {"speed": 1.0}, {"instructions": ""}, {"language": ""}]
)
async def test_what_asks_for_nothing_is_accepted(site: Site, fields: dict[str, Any]) -> None:
    assert (await speak(site, **fields)).status_code == 200


async def test_a_text_over_the_limit_is_refused(tmp_path: Any) -> None:
    async with open_site(tmp_path / "keys.json", limits=LimitsConfig(speech_characters=10)) as site:
        assert (await speak(site, input="x" * 10)).status_code == 200
        assert_envelope(await speak(site, input="x" * 11), 400, "input")


async def test_the_voices(site: Site) -> None:
    whole = (await site.client.get("/v1/audio/voices")).json()
    assert whole == {
        "voices": [
            {"id": "low", "name": "low", "model": "parrot"},
            {"id": "high", "name": "high", "model": "parrot"},
        ]
    }
    assert (await site.client.get("/v1/audio/voices?model=tts-1")).json() == whole
    assert_envelope(await site.client.get("/v1/audio/voices?model=nope"), 404, "model")
    assert_envelope(await site.client.get("/v1/audio/voices?model=talker"), 400, "model")
    assert (await site.client.get("/v1/audio/models")).json() == {
        "models": [{"id": "parrot", "name": "parrot"}]
    }
    site.engine.undescribed = ModelFailed("broken")
    assert (await site.client.get("/v1/audio/voices")).json() == {"voices": []}


async def test_a_model_tells_its_voices_and_languages(site: Site) -> None:
    told = (await site.client.get("/v1/models/tts-1")).json()["capabilities"]
    assert told["voices"] == AUDIO_DESCRIPTION.voices
    assert told["voice_aliases"] == {"alloy": "low"}
    assert told["languages"] == ["en", "de"]


# --- the older routes ------------------------------------------------------------------------------------


async def test_speaking_in_short_form(site: Site) -> None:
    response = await site.client.post("/api/v1/audio/speak", json={"text": "Hi"})
    assert (response.status_code, response.content) == (200, b"RIFFmore")
    assert response.headers["content-type"] == "audio/wav"
    asked = {"text": "Hi", "model": "parrot", "voice": "alloy", "format": "flac", "speed": 2}
    assert (await site.client.post("/api/v1/audio/speak", json=asked)).status_code == 200
    assert site.engine.jobs[-1][0].parameters == SpeakParameters(voice="alloy", format="flac", speed=2.0)


@pytest.mark.parametrize(
    ("body", "param"),
    [({"text": ""}, "text"), ({}, "text"), ({"text": "a", "voice": "x"}, "voice"), ({"input": "a"}, "input")],
)
async def test_what_the_short_form_refuses(site: Site, body: dict[str, Any], param: str) -> None:
    assert_envelope(await site.client.post("/api/v1/audio/speak", json=body), 400, param)


async def test_transcribing_in_short_form(site: Site) -> None:
    url, files = "/api/v1/audio/transcribe", {"file": b"sound"}
    told = (await site.client.post(url, files=files)).json()
    assert told["id"].startswith("transcript-")
    assert (told["model"], told["text"], told["language"]) == ("parrot", "Hello <there>.", "de")
    assert told["duration_s"] == 3.25
    assert told["segments"][1] == {"start_s": 1.5, "end_s": 3.25, "text": "<there>."}
    assert (await site.client.post(url, files=files, data={"model": "parrot", "language": "en"})).is_success
    assert_envelope(await site.client.post(url, files=files, data={"language": "fr"}), 400, "language")
    assert_envelope(await site.client.post(url, files=files, data={"model": "talker"}), 400, "model")
    assert_envelope(await site.client.post(url, files=files, data={"stream": "true"}), 400, "stream")
    assert list(site.spool.iterdir()) == []
