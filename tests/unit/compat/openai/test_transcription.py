"""Transcription requests: the job that a form becomes, and what is refused by name."""

import json
from typing import Any

import msgspec
import pytest

from backends.protocol import (
    Description,
    ItemDone,
    TokenLogprob,
    TranscribeParameters,
    TranscriptDelta,
    VoiceActivity,
)
from compat.errors import InvalidRequest
from compat.openai.transcription import read_transcription, transcribe_parameters, transcript_form
from compat.openai.transcription_answers import TranscriptEvents, render_transcription
from tests.unit.gateway.http.fakes import TRANSCRIPT

ALL = Description(
    ["transcribe"],
    ["prompt", "temperature", "word_timestamps", "logprobs", "voice_activity", "seed"],
    languages=["en", "de"],
)
NONE = Description(["transcribe"], [])


def parameters(*texts: tuple[str, str], description: Description = ALL) -> TranscribeParameters:
    request = read_transcription([("model", "m"), *texts])
    return transcribe_parameters(request, transcript_form(request, "transcribe"), description)


def test_the_job_carries_what_was_asked() -> None:
    assert parameters(
        ("language", " DE"),
        ("prompt", "Names: Ähm"),
        ("temperature", "0.5"),
        ("seed", "7"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities", "segment"),
        ("include[]", "logprobs"),
        ("chunking_strategy", "auto"),
        ("stream", "False"),
    ) == TranscribeParameters(
        language="de",
        prompt="Names: Ähm",
        temperature=0.5,
        word_timestamps=True,
        logprobs=True,
        seed=7,
    )


@pytest.mark.parametrize(
    "texts",
    [
        [("chunking_strategy", '{"type":"server_vad","threshold":0.25,"silence_duration_ms":500}')],
        [
            ("chunking_strategy[type]", "server_vad"),
            ("chunking_strategy[threshold]", "0.25"),
            ("chunking_strategy[silence_duration_ms]", "500"),
        ],
    ],
)
def test_voice_activity_in_both_spellings(texts: list[tuple[str, str]]) -> None:
    assert parameters(*texts).voice_activity == VoiceActivity(0.25, None, 500)


def test_what_is_empty_asks_for_nothing() -> None:
    texts = [("language", ""), ("prompt", ""), ("chunking_strategy", "auto")]
    assert parameters(*texts, description=NONE) == TranscribeParameters()


REFUSED: list[tuple[list[tuple[str, str]], str]] = [
    ([("response_format", "diarized_json")], "response_format"),
    ([("response_format", "xml")], "response_format"),
    ([("timestamp_granularities[]", "word")], "timestamp_granularities"),
    ([("timestamp_granularities[]", "letter")], "timestamp_granularities"),
    ([("response_format", "srt"), ("stream", "true")], "stream"),
    ([("response_format", "text"), ("include[]", "logprobs")], "include"),
    ([("include[]", "all")], "include"),
    ([("language", "fr")], "language"),
    ([("language", "English")], "language"),
    ([("temperature", "1.5")], "temperature"),
    ([("temperature", "")], "temperature"),
    ([("stream", "maybe")], "stream"),
    ([("seed", "-1")], "seed"),
    ([("known_speaker_names[]", "Anna")], "known_speaker_names"),
    ([("known_speaker_references[]", "data:x")], "known_speaker_references"),
    ([("keywords[]", "x")], "keywords"),
    ([("languages[]", "en")], "languages"),
    ([("chunking_strategy", "never")], "chunking_strategy"),
    ([("chunking_strategy", "{")], "chunking_strategy"),
    ([("chunking_strategy", '{"type":"client_vad"}')], "chunking_strategy.type"),
    ([("chunking_strategy", '{"type":"server_vad","threshold":2}')], "chunking_strategy.threshold"),
    ([("chunking_strategy[type]", "server_vad"), ("chunking_strategy[x]", "1")], "chunking_strategy.x"),
    ([("chunking_strategy", "auto"), ("chunking_strategy[type]", "x")], "chunking_strategy[type]"),
    ([("chunking_strategy[type]", "x"), ("chunking_strategy", "auto")], "chunking_strategy"),
    ([("prompt", "a"), ("prompt", "b")], "prompt"),
    ([("prompt[x]", "a")], "prompt[x]"),
    ([("hotwords", "a")], "hotwords"),
]


@pytest.mark.parametrize(("texts", "param"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_honoured_is_named(texts: list[tuple[str, str]], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parameters(*texts)
    assert (caught.value.param or "").partition("[0]")[0].removesuffix("[...]") == param
    assert caught.value.code


@pytest.mark.parametrize(
    ("texts", "param"),
    [
        ([("prompt", "x")], "prompt"),
        ([("temperature", "0.5")], "temperature"),
        ([("seed", "1")], "seed"),
        ([("chunking_strategy[type]", "server_vad")], "chunking_strategy"),
        ([("include[]", "logprobs")], "include"),
        (
            [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")],
            "timestamp_granularities",
        ),
    ],
)
def test_what_the_model_does_not_honour_is_named(texts: list[tuple[str, str]], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parameters(*texts, description=NONE)
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


# --- answers ---------------------------------------------------------------------------------------------


def form(**fields: Any) -> Any:
    request = msgspec.convert({"model": "m"} | fields, type(read_transcription([("model", "m")])))
    return transcript_form(request, "transcribe")


def verbose(*granularities: str) -> Any:
    return json.loads(
        render_transcription(
            TRANSCRIPT, form(response_format="verbose_json", timestamp_granularities=list(granularities))
        )
    )


def test_the_short_formats() -> None:
    assert json.loads(render_transcription(TRANSCRIPT, form())) == {
        "text": "Hello <there>.",
        "usage": {"type": "duration", "seconds": 3.25},
    }
    assert render_transcription(TRANSCRIPT, form(response_format="text")) == b"Hello <there>.\n"
    assert render_transcription(TRANSCRIPT, form(response_format="srt")).startswith(b"1\n00:00:00,000 -->")
    assert b"&lt;there&gt;." in render_transcription(TRANSCRIPT, form(response_format="vtt"))


def test_verbose_has_what_the_granularities_say() -> None:
    plain = verbose()
    assert (plain["task"], plain["language"], plain["duration"]) == ("transcribe", "german", 3.25)
    assert [one["text"] for one in plain["segments"]] == [" Hello", " <there>."]
    assert "words" not in plain
    assert "segments" not in verbose("word")
    both = verbose("word", "segment")
    assert both["words"] == [
        {"word": "Hello", "start": 0.25, "end": 1.5},
        {"word": "<there>.", "start": 1.5, "end": 3.25},
    ]
    assert both["segments"] == plain["segments"]


def test_a_translation_is_english() -> None:
    asked = transcript_form(
        read_transcription([("model", "m"), ("response_format", "verbose_json")]), "translate"
    )
    told = json.loads(render_transcription(TRANSCRIPT, asked))
    assert (told["task"], told["language"]) == ("translate", "english")


def events(asked: Any, *deltas: TranscriptDelta) -> list[Any]:
    written = TranscriptEvents(asked)
    data = written.opening() + b"".join(map(written.write, [*deltas, ItemDone("j", 0, TRANSCRIPT)]))
    return [json.loads(frame.removeprefix(b"data: ")) for frame in data.split(b"\n\n")[:-1]]


def delta(index: int) -> TranscriptDelta:
    return TranscriptDelta("j", 0, [TRANSCRIPT.segments[index]], [TRANSCRIPT.logprobs[index]])


@pytest.mark.parametrize("streamed", [0, 1, 2])
def test_the_deltas_are_the_text_however_many_come_late(streamed: int) -> None:
    asked = form(stream=True, include=["logprobs"])
    *pieces, done = events(asked, *map(delta, range(streamed)))
    assert "".join(piece["delta"] for piece in pieces) == done["text"] == "Hello <there>."
    logprobs = [one for piece in pieces for one in piece["logprobs"]]
    assert logprobs == done["logprobs"]
    assert [one["token"] for one in logprobs] == [" Hello", " <there>."]
    assert done["usage"] == {"type": "duration", "seconds": 3.25}
    assert "language" not in done


def test_a_verbose_stream_tells_of_segments() -> None:
    told = events(form(stream=True, response_format="verbose_json"), delta(0))
    assert [one["type"].rpartition(".")[2] for one in told] == [
        "delta",
        "segment",
        "delta",
        "segment",
        "done",
    ]
    assert told[1] == {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": 0.0,
        "end": 1.5,
        "text": " Hello",
        "speaker": "",
    }
    assert (told[-1]["language"], told[-1]["duration"]) == ("german", 3.25)


def test_silence_is_one_event() -> None:
    written = TranscriptEvents(form(stream=True))
    silent = msgspec.structs.replace(TRANSCRIPT, text="", segments=[], logprobs=[])
    assert written.write(ItemDone("j", 0, silent)).count(b"data:") == 1


def test_a_likelihood_of_nothing_is_a_number() -> None:
    unlikely = msgspec.structs.replace(TRANSCRIPT, logprobs=[TokenLogprob(b"\xff", float("-inf"))])
    told = json.loads(render_transcription(unlikely, form(include=["logprobs"])))
    assert told["logprobs"] == [{"token": "�", "logprob": -9999.0, "bytes": [255]}]
