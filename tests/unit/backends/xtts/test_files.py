"""Where an XTTS model's files and voices are found, without its library."""

from pathlib import Path

import pytest

from backends.speech.prepare import Repertoire
from backends.xtts.files import Checkpoint, languages, recordings
from backends.xtts.prepare import MOST_CHARACTERS, XttsPreparer
from config.parameters import WeightsFile, XttsParameters


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.pth", "config.json", "vocab.json"):
        (tmp_path / name).write_text('{"languages": ["en", "zh-cn", "de"], "max_audio_len": Infinity}')
    return tmp_path


def parameters(**settings: object) -> XttsParameters:
    return XttsParameters(voices_dir="/voices", **settings)  # type: ignore[arg-type]


def test_files_stand_beside_the_weights_unless_named(folder: Path, tmp_path: Path) -> None:
    by_folder, by_file = (Checkpoint.find(path, parameters()) for path in (folder, folder / "model.pth"))
    assert by_folder == by_file
    other = tmp_path / "other.json"
    other.write_text("{}")
    named = Checkpoint.find(folder, parameters(vocab=WeightsFile(source=str(other))))
    assert (named.config, named.vocabulary) == (folder / "config.json", other)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "vocab.json").unlink()
    with pytest.raises(ValueError, match=r"no file .*vocab\.json"):
        Checkpoint.find(folder, parameters())


def test_languages_are_codes_with_the_default_first(folder: Path) -> None:
    codes = languages(folder / "config.json", "de")
    assert codes[:2] == ["de", "en"]
    with pytest.raises(ValueError, match="language 'fr' is not to be had"):
        languages(folder / "config.json", "fr")


def test_a_broken_config_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        languages(folder / "config.json", "en")


def test_a_file_is_a_voice_and_so_is_a_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "ben").mkdir()
    for name in ("zoe.wav", "anna.FLAC", "ben/2.wav", "ben/1.ogg", "notes.txt", "-odd.wav", ".hidden.wav"):
        (tmp_path / name).touch()
    found = recordings(tmp_path, "zoe")
    assert list(found) == ["zoe", "anna", "ben"]
    assert [file.name for file in found["ben"]] == ["1.ogg", "2.wav"]


@pytest.mark.parametrize(("first", "says"), [("", "holds no recordings"), ("x", "holds no recordings")])
def test_no_recordings(tmp_path: Path, first: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recordings(tmp_path, first)
    with pytest.raises(ValueError, match="no folder"):
        recordings(tmp_path / "missing", first)


def test_an_unknown_default_is_named(tmp_path: Path) -> None:
    (tmp_path / "anna.wav").touch()
    with pytest.raises(ValueError, match="holds no 'ben'; it holds: anna"):
        recordings(tmp_path, "ben")


def test_sentences_are_bounded_by_language() -> None:
    preparer = XttsPreparer(Repertoire(["anna"], {}, ["en", "ja"]))
    long = "word " * 100
    for language in ("en", "ja"):
        pieces = preparer.pieces(f"First. … {long}", "anna", language)
        assert pieces[0].text == "First."
        assert all(len(piece.text) <= MOST_CHARACTERS[language] for piece in pieces)
        assert sum(len(piece.text.split()) for piece in pieces) >= 101
