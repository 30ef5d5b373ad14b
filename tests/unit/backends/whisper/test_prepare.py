"""What reaches the engine, and what leaves no file behind."""

import os
import tempfile
from pathlib import Path

import pytest

from backends.base import JobError
from backends.media.audio import SAMPLE_RATE
from backends.protocol import Inline, Job, JobTask, Media, Text, TranscribeParameters
from backends.whisper import prepare
from backends.whisper.files import ModelFacts, read_facts
from backends.whisper.prepare import RecordingItem, WhisperPreparer
from tests.unit.backends.media.test_audio import wav


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def preparer(folder: Path, max_audio_s: float = 1000) -> WhisperPreparer:
    return WhisperPreparer(folder, read_facts(folder), max_audio_s)


def job(*data: bytes, task: JobTask = "transcribe", **parameters: object) -> Job:
    items = [Media(Inline(one)) for one in data]
    return Job("job", "m", task, TranscribeParameters(**parameters), list(items))  # type: ignore[arg-type]


def test_the_folder_tells_the_languages(folder: Path) -> None:
    facts = read_facts(folder)
    assert facts.languages == ["en", "de"]
    assert (facts.multilingual, facts.weights_bytes, facts.mel_bands) == (True, 10, 80)
    (folder / "preprocessor_config.json").write_text('{"feature_size": 128}')
    assert read_facts(folder).mel_bands == 128


@pytest.mark.parametrize("name", ["model.bin", "config.json", "tokenizer.json"])
def test_a_folder_that_is_not_whole(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=name):
        read_facts(folder)


def test_a_short_recording_goes_in_the_message(folder: Path, temporary: Path) -> None:
    (item,) = preparer(folder).prepare(job(wav(1.0), prompt="hi"))
    assert (item.samples, len(item.pcm), item.path) == (SAMPLE_RATE, 2 * SAMPLE_RATE, "")
    assert len(item.prompt) == 3
    assert os.listdir(temporary) == []


def test_a_long_recording_goes_through_a_file(
    folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "INLINE_BYTES", 1000)
    (item,) = preparer(folder).prepare(job(wav(1.0)))
    assert item.pcm == b""
    assert Path(item.path).stat().st_size == 2 * SAMPLE_RATE
    item.discard()
    assert os.listdir(temporary) == []


def test_a_refused_job_leaves_no_file(folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "INLINE_BYTES", 1000)
    with pytest.raises(JobError) as caught:
        preparer(folder, max_audio_s=2).prepare(job(wav(1.0), wav(3.0)))
    assert caught.value.code == "audio_too_long"
    assert os.listdir(temporary) == []


def test_without_nameless_files(folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "INLINE_BYTES", 1000)
    monkeypatch.setattr("sys.platform", "darwin")
    (item,) = preparer(folder).prepare(job(wav(1.0)))
    assert Path(item.path).stat().st_size == 2 * SAMPLE_RATE
    with pytest.raises(JobError):
        preparer(folder, max_audio_s=0.5).prepare(job(wav(1.0)))
    assert os.listdir(temporary) == [Path(item.path).name]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"language": "EN"}, "language"),
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"seed": 1}, "seed"),
        ({"prompt": "long " * 100}, "prompt"),
    ],
)
def test_what_is_refused(folder: Path, parameters: dict[str, object], param: str) -> None:
    with pytest.raises(JobError) as caught:
        preparer(folder).prepare(job(wav(), **parameters))
    assert caught.value.param == param


def test_an_english_model_translates_nothing(folder: Path) -> None:
    english = ModelFacts(["en"], False, 10, 80, 1)
    with pytest.raises(JobError, match="English"):
        WhisperPreparer(folder, english, 60).prepare(job(wav(), task="translate"))


def test_a_text_is_no_recording(folder: Path) -> None:
    wrong = Job("job", "m", "transcribe", TranscribeParameters(), [Text("x")])
    with pytest.raises(JobError, match="recording"):
        preparer(folder).prepare(wrong)


def test_an_item_without_a_file_has_nothing_to_discard() -> None:
    RecordingItem(1, b"\0\0").discard()
