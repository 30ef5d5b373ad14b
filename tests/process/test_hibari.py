"""The starter voice: real sound in every format, in turns, and what it refuses."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest

from backends.base import JobError
from backends.hibari import HibariBackend
from backends.protocol import AudioDelta, AudioFormat, Finished, ItemDone, Output, SpeechResult
from config.schema import ModelSpec
from gateway.engine.errors import BadRequest
from tests.process.conftest import starter_weights
from tests.process.fleet import running_engine
from tests.spoken import HARVARD, Speaker, audio, decoded, result, speak_job

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
STORY = " ".join(HARVARD[:10])
DELAY_S = 0.11
"""Codecs pad: a frame or two at either end."""


@pytest.fixture(scope="session")
def hibari_path() -> Path:
    return starter_weights("hibari", "LLM_CORTEX_TEST_HIBARI")


def spec(path: Path, **parameters: object) -> ModelSpec:
    return ModelSpec(
        name="voice", backend="hibari", tasks=["speak"], source=str(path), parameters=parameters, preload=True
    )


@pytest.fixture(scope="module")
def backend(hibari_path: Path) -> HibariBackend:
    return HibariBackend(spec(hibari_path), hibari_path)


@pytest.fixture(scope="module")
def speaker(backend: HibariBackend) -> Speaker:
    engine = backend.load("cpu")
    engine.warm_up()
    return Speaker(backend.preparer(), engine)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_a_file_of_the_length_that_is_told(speaker: Speaker, format: AudioFormat) -> None:
    speaker.add("a", STORY, format=format)
    outputs = speaker.drain()
    told = result(outputs, "a")
    samples, rate = decoded(audio(outputs, "a"), format)
    assert len(samples) / rate == pytest.approx(told.duration_s, abs=DELAY_S)
    assert 20 < told.duration_s < 40
    assert float(np.sqrt(np.mean(samples**2))) > 0.02, "that is silence"
    assert (told.input_tokens, told.output_tokens) > (300, 300)


def test_sound_leaves_before_later_sentences_are_spoken(speaker: Speaker) -> None:
    speaker.add("a", STORY, format="mp3")
    (first,) = speaker.engine.step()
    assert isinstance(first, AudioDelta)
    samples, rate = decoded(first.data, "mp3")
    assert 1 < len(samples) / rate < 5, "one sentence"
    assert speaker.engine.has_work()
    speaker.drain()


def test_a_long_text_does_not_hold_up_a_short_one(speaker: Speaker) -> None:
    speaker.add("long", STORY)
    speaker.engine.step()
    speaker.add("short", HARVARD[0])
    outputs = speaker.drain()
    ends = [output.job_id for output in outputs if isinstance(output, Finished)]
    assert ends == ["short", "long"]
    place = next(i for i, output in enumerate(outputs) if isinstance(output, Finished))
    assert sum(isinstance(output, AudioDelta) for output in outputs[:place]) <= 3


def test_with_a_seed_sound_is_the_same_alone_and_in_company(speaker: Speaker) -> None:
    alone = speaker.say(STORY, seed=7)
    for other in ("b", "c"):
        speaker.add(other, STORY, seed=8)
    speaker.add("a", STORY, seed=7)
    together = speaker.drain()
    assert audio(together, "a") == alone
    assert audio(together, "b") == audio(together, "c") != alone
    assert speaker.say(HARVARD[0]) != speaker.say(HARVARD[0])


@pytest.mark.parametrize("speed", [0.25, 0.5, 2.0, 4.0])
def test_speed_is_kept_over_all_of_its_range(speaker: Speaker, speed: float) -> None:
    normal = len(speaker.say(STORY))
    assert len(speaker.say(STORY, speed=speed)) == pytest.approx(normal / speed, rel=0.08)


def test_an_abort_ends_it_at_the_next_sentence(speaker: Speaker) -> None:
    speaker.add("a", STORY)
    speaker.engine.step()
    assert speaker.engine.abort("a")
    assert not speaker.engine.has_work()


def test_a_sentence_without_end_is_cut(speaker: Speaker) -> None:
    speaker.add("a", "and then they walked on " * 60)
    (first, *_) = speaker.engine.step()
    assert isinstance(first, AudioDelta)
    assert len(first.data) / 48000 < 25
    speaker.drain()


@pytest.mark.parametrize(
    ("text", "asked", "param"),
    [
        ("…", {}, "input"),
        ("🎉🎉", {}, "input"),
        ("", {}, "input"),
        ("これはペンです", {}, "input"),
        ("Hello", {"voice": "emma"}, "voice"),
        ("Hello", {"language": "de"}, "language"),
        ("Hello", {"instructions": "softly"}, "instructions"),
    ],
)
def test_refusals_name_the_parameter(
    speaker: Speaker, text: str, asked: dict[str, object], param: str
) -> None:
    with pytest.raises(JobError) as caught:
        speaker.add("a", text, **asked)
    assert caught.value.param == param
    assert not speaker.engine.has_work()


def test_openais_voices_are_the_one_there_is(speaker: Speaker) -> None:
    assert speaker.say("Hello.", voice="alloy", seed=1) == speaker.say("Hello.", voice="heart", seed=1)


def test_other_voices_come_from_files(hibari_path: Path) -> None:
    voices = [{"name": "emma", "source": str(hibari_path), "british": True}]
    backend = HibariBackend(spec(hibari_path, voices=voices, voice_aliases={"nova": "emma"}), hibari_path)
    description = backend.describe()
    assert (description.voices, description.voice_aliases) == (["heart", "emma"], {"nova": "emma"})
    speaker = Speaker(backend.preparer(), backend.load("cpu"))
    american, british = (speaker.say("A glass of water.", voice=voice, seed=1) for voice in ("heart", "nova"))
    assert american != british, "they pronounce it differently"


def test_a_file_that_is_no_voice_fails_the_load(tmp_path: Path) -> None:
    file = tmp_path / "voice.onnx"
    file.write_bytes(b"no voice at all")
    with pytest.raises(ValueError, match=r"voice\.onnx: no voice of hibari"):
        HibariBackend(spec(file), file).load("cpu")


def test_describing_and_preparing_load_no_voice(hibari_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from backends.hibari import HibariBackend;"
        "from config.schema import ModelSpec;"
        "spec = ModelSpec(name='m', backend='hibari', tasks=['speak'], source='x');"
        f"backend = HibariBackend(spec, Path({str(hibari_path)!r}));"
        "backend.describe(); print(sorted({'hibari', 'numpy', 'av', 'onnxruntime'} & set(sys.modules)));"
        "backend.preparer(); print(sorted({'av', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "[]"]


async def test_a_worker_speaks(hibari_path: Path, tmp_path: Path) -> None:
    async with running_engine(tmp_path, spec(hibari_path)) as engine:
        description = await engine.description("voice")
        assert description.voices == ["heart"]
        stream = engine.submit(speak_job("a", STORY, format="opus"))
        outputs: list[Output] = []
        while not any(isinstance(output, Finished) for output in outputs):
            outputs += await stream.next()
        told = next(output.result for output in outputs if isinstance(output, ItemDone))
        assert isinstance(told, SpeechResult)
        samples, rate = decoded(audio(outputs, "a"), "opus")
        assert len(samples) / rate == pytest.approx(told.duration_s, abs=DELAY_S)
        refused = engine.submit(msgspec.structs.replace(speak_job("b", "…")))
        with pytest.raises(BadRequest, match="nothing in this text"):
            await refused.next()
