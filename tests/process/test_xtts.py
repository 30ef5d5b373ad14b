"""XTTS in a worker of its own interpreter: loading, cloning, streaming and turns, on random weights.

The checkpoint is made by the library's own classes; what it says is noise.
"""

import hashlib
import os
import pickle
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import soundfile

from backends.protocol import AudioDelta, Finished, ItemDone, Output
from config.schema import ModelSpec
from gateway.engine.engine import Engine
from gateway.engine.errors import BadRequest, ModelFailed
from gateway.engine.stream import JobStream
from tests.process.fleet import running_engine
from tests.spoken import audio, decoded, result, speak_job

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-xtts" / "bin" / "python"
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


def made_checkpoint(folder: Path, *flags: str) -> Path:
    assert PYTHON.exists(), "XTTS's library is not here: .ci/install-xtts"
    command = [str(PYTHON), "-m", "tests.xtts_checkpoint", str(folder), *flags]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=240)
    return folder / "model.pth"


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_checkpoint(tmp_path_factory.mktemp("xtts"), "--legacy")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two voices: one recording, and a folder of two at another rate, one of them stereo."""
    folder, random = tmp_path_factory.mktemp("voices"), np.random.default_rng(1)
    (folder / "ben").mkdir()
    soundfile.write(folder / "anna.wav", random.normal(0, 0.1, 3 * 22050), 22050)
    soundfile.write(folder / "ben" / "1.flac", random.normal(0, 0.1, (2 * 16000, 2)), 16000)
    soundfile.write(folder / "ben" / "2.wav", random.normal(0, 0.1, 2 * 16000), 16000)
    (folder / "README.txt").write_text("no recording")
    return folder


def spec(weights: Path, voices: Path, **settings: Any) -> ModelSpec:
    return ModelSpec(
        **{
            "name": "voice",
            "backend": "xtts",
            "tasks": ["speak"],
            "source": str(weights),
            "sha256": sha256(weights),
            "parameters": {"voices_dir": str(voices)},
            "preload": True,
            "licence": "CPML",
            **settings,
        }
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(
    weights: Path, voices: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Engine]:
    async with serving(tmp_path_factory.mktemp("cache"), spec(weights, voices)) as engine:
        yield engine


def serving(cache: Path, model: ModelSpec) -> Any:
    patient = {"queue_s": 600, "load_s": 600}
    return running_engine(cache, model, backends={"xtts": {"python": str(PYTHON)}}, timeouts=patient)


async def read(stream: JobStream) -> list[Output]:
    outputs: list[Output] = []
    while not any(isinstance(output, Finished) for output in outputs):
        outputs += await stream.next()
    return outputs


async def say(engine: Engine, name: str, text: str, **asked: Any) -> list[Output]:
    return await read(engine.submit(speak_job(name, text, **asked)))


async def test_it_offers_the_recordings_and_what_its_packages_can_read(engine: Engine) -> None:
    description = await engine.description("voice")
    assert description.voices == ["anna", "ben"]
    assert description.languages[:3] == ["en", "de", "fr"]
    assert description.licence == "CPML"
    assert description.voice_aliases["alloy"] == "anna"


async def test_a_sentence_comes_in_stretches(engine: Engine) -> None:
    outputs = await say(engine, "a", "Guten Morgen.", language="de", format="mp3")
    first_end = next(i for i, output in enumerate(outputs) if isinstance(output, ItemDone))
    assert sum(isinstance(output, AudioDelta) for output in outputs[:first_end]) >= 2
    samples, rate = decoded(audio(outputs, "a"), "mp3")
    told = result(outputs, "a")
    assert len(samples) / rate == pytest.approx(told.duration_s, abs=0.15)
    assert told.input_tokens == len("[de]") - 3 + len("Guten Morgen.")
    assert told.output_tokens > 50


async def test_sentences_of_requests_take_turns(engine: Engine) -> None:
    long = engine.submit(speak_job("long", "One here. Two here. Three here. Four here."))
    short = engine.submit(speak_job("short", "Short."))
    await read(short)
    assert engine_runs(engine), "the long one is still at it"
    assert result(await read(long), "long").duration_s > 2


def engine_runs(engine: Engine) -> bool:
    return any(gauges.running for gauges in engine._gauges() if gauges.model == "voice")


async def test_with_a_seed_sound_is_the_same_in_any_company(engine: Engine) -> None:
    alone = audio(await say(engine, "a", "One. Two.", seed=5), "a")
    company = engine.submit(speak_job("b", "Three. Four.", seed=6))
    assert audio(await say(engine, "c", "One. Two.", seed=5), "c") == alone
    assert audio(await read(company), "b") != alone
    assert audio(await say(engine, "d", "One. Two.", seed=5, voice="ben"), "d") != alone


async def test_refusals_name_the_parameter(engine: Engine) -> None:
    for param, asked in (("language", {"language": "xx"}), ("voice", {"voice": "carl"})):
        with pytest.raises(BadRequest) as caught:
            await say(engine, param, "Hello.", **asked)
        assert caught.value.param == param


async def test_latents_are_kept_and_a_damaged_file_is_made_anew(
    engine: Engine, weights: Path, voices: Path, tmp_path: Path
) -> None:
    await say(engine, "a", "Hi.")  # it has started
    whole, damaged = sorted((voices / ".latents").glob("*.safetensors"))
    before, good = whole.stat().st_mtime_ns, damaged.read_bytes()
    damaged.write_bytes(good[:100])
    async with serving(tmp_path, spec(weights, voices)) as again:
        await say(again, "b", "Hi.")
    assert whole.stat().st_mtime_ns == before
    assert damaged.read_bytes() == good


async def test_weights_stay_as_they_were_pinned(engine: Engine, weights: Path) -> None:
    """The library by itself would write this kind of checkpoint anew."""
    await say(engine, "a", "Hi.")
    assert spec(weights, weights.parent).sha256 == sha256(weights)
    assert engine.resolve("voice").sha256 == sha256(weights)


async def failure(model: ModelSpec, cache: Path) -> str:
    async with serving(cache, model) as engine:
        with pytest.raises(ModelFailed) as caught:
            await described_and_said(engine)
        return str(caught.value)


async def described_and_said(engine: Engine) -> None:
    await engine.description("voice")
    await say(engine, "a", "Hi.")


async def test_a_hash_is_demanded_and_checked(weights: Path, voices: Path, tmp_path: Path) -> None:
    assert "need `sha256`" in await failure(spec(weights, voices, sha256=None), tmp_path / "1")
    wrong = spec(weights, voices, sha256="0" * 64)
    assert f"has SHA-256 {sha256(weights)} and not 000" in await failure(wrong, tmp_path / "2")


async def test_code_in_a_checkpoint_is_not_run(weights: Path, voices: Path, tmp_path: Path) -> None:
    folder, trace = tmp_path / "model", tmp_path / "trace"
    folder.mkdir()
    for name in ("config.json", "vocab.json"):
        shutil.copy(weights.with_name(name), folder)
    bad = folder / "model.pth"
    bad.write_bytes(pickle.dumps({"model": _Touch(trace)}, protocol=2))
    message = await failure(spec(bad, voices), tmp_path / "cache")
    assert "no checkpoint of XTTS" in message
    assert not trace.exists()
    pickle.loads(bad.read_bytes())
    assert trace.exists(), "the checkpoint was harmless: the test shows nothing"


class _Touch:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._folder),)


async def test_a_checkpoint_without_classes_speaks_too(voices: Path, tmp_path: Path) -> None:
    file = made_checkpoint(tmp_path / "model")
    async with serving(tmp_path / "cache", spec(file, voices)) as engine:
        assert result(await say(engine, "a", "Hi."), "a").duration_s > 0.5
