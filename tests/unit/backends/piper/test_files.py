"""What is read off a Piper voice's files."""

import json
from pathlib import Path
from typing import Any

import pytest

from backends.piper.files import PiperFiles


def voice(folder: Path, name: str = "de_DE-anna-low", **settings: Any) -> Path:
    config = {
        "audio": {"sample_rate": 16000, "quality": "low"},
        "espeak": {"voice": "de"},
        "num_speakers": 1,
        **settings,
    }
    (folder / f"{name}.onnx").touch()
    (folder / f"{name}.onnx.json").write_text(json.dumps(config))
    return folder / f"{name}.onnx"


def test_a_single_voice_has_the_name_in_its_files_or_the_one_given(tmp_path: Path) -> None:
    found = PiperFiles.find(voice(tmp_path), "")
    assert (found.speakers, found.language, found.sample_rate) == ({"anna": 0}, "de", 16000)
    assert PiperFiles.find(tmp_path, "heidi").speakers == {"heidi": 0}
    assert PiperFiles.find(voice(tmp_path, "custom"), "").speakers == {"custom": 0}


def test_speakers_of_a_group_with_the_default_first(tmp_path: Path) -> None:
    group = {"num_speakers": 2, "speaker_id_map": {"b": 1, "a": 0}, "language": {"code": "en_GB"}}
    model = voice(tmp_path, **group)
    assert list(PiperFiles.find(model, "").speakers) == ["a", "b"]
    assert PiperFiles.find(model, "b").speakers == {"b": 1, "a": 0}
    assert PiperFiles.find(model, "").language == "en"
    with pytest.raises(ValueError, match="no speaker 'c'; there are: b, a"):
        PiperFiles.find(model, "c")


def test_voices_that_would_fetch_more_while_they_speak_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pinyin"):
        PiperFiles.find(voice(tmp_path, phoneme_type="pinyin"), "")


def test_a_folder_must_hold_one_voice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 0 ONNX files"):
        PiperFiles.find(tmp_path, "")
    voice(tmp_path, "a")
    voice(tmp_path, "b")
    with pytest.raises(ValueError, match="holds 2 ONNX files"):
        PiperFiles.find(tmp_path, "")


def test_a_missing_or_broken_config_is_named(tmp_path: Path) -> None:
    model = voice(tmp_path)
    model.with_name(model.name + ".json").write_text("{")
    with pytest.raises(ValueError, match=r"anna-low\.onnx\.json"):
        PiperFiles.find(model, "")
    model.with_name(model.name + ".json").unlink()
    with pytest.raises(ValueError, match=r"anna-low\.onnx\.json"):
        PiperFiles.find(model, "")
