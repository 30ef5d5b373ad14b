"""What earlier loads have shown, kept from one process to the next."""

from pathlib import Path

import pytest

from config.schema import ModelSpec
from gateway.engine.learned import KEPT_LOADS, LearnedPeaks, learned_key

SPEC = ModelSpec(name="m", backend="fake", tasks=["generate"], source="x", parameters={"a": 1})


def test_the_peak_of_a_load_is_found_again(tmp_path: Path) -> None:
    peaks = LearnedPeaks(tmp_path)
    for size in (50, 100, 70):
        peaks.note(1, "key", "cpu", "m", size)
    assert LearnedPeaks(tmp_path).read("key", ["cuda", "cpu"]) == {"cpu": 100}


def test_one_odd_load_is_forgotten_in_time(tmp_path: Path) -> None:
    peaks = LearnedPeaks(tmp_path)
    peaks.note(0, "key", "cpu", "m", 500)
    for worker_id in range(1, KEPT_LOADS):
        peaks.note(worker_id, "key", "cpu", "m", 100)
    assert peaks.read("key", ["cpu"]) == {"cpu": 500}
    peaks.note(99, "key", "cpu", "m", 100)
    assert peaks.read("key", ["cpu"]) == {"cpu": 100}


def test_a_worker_that_ended_is_no_load_any_more(tmp_path: Path) -> None:
    peaks = LearnedPeaks(tmp_path)
    peaks.note(1, "key", "cpu", "m", 100)
    peaks.keep_only({2})
    peaks.note(1, "key", "cpu", "m", 50)
    assert (tmp_path / "key-cpu.json").read_text() == '{"model":"m","peaks":[100,50]}'


def test_nothing_is_written_that_says_nothing_new(tmp_path: Path) -> None:
    peaks = LearnedPeaks(tmp_path)
    peaks.note(1, "key", "cpu", "m", 0)
    assert not list(tmp_path.iterdir())
    peaks.note(1, "key", "cpu", "m", 1000)
    peaks.note(1, "key", "cpu", "m", 1001)
    assert LearnedPeaks(tmp_path).read("key", ["cpu"]) == {"cpu": 1000}


@pytest.mark.parametrize("text", ["", "{", '{"model": "m", "peaks": ["x"]}', '{"model": "m", "peaks": [-5]}'])
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "key-cpu.json").write_text(text)
    peaks = LearnedPeaks(tmp_path)
    assert peaks.read("key", ["cpu"]) == {}
    peaks.note(1, "key", "cpu", "m", 100)
    assert LearnedPeaks(tmp_path).read("key", ["cpu"]) == {"cpu": 100}


def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    peaks = LearnedPeaks(tmp_path / "file")
    peaks.note(1, "key", "cpu", "m", 100)
    assert peaks.read("key", ["cpu"]) == {"cpu": 100}


def test_the_key_is_of_what_changes_the_need() -> None:
    key = learned_key(SPEC, "weights")
    assert learned_key(SPEC, "weights") == key
    assert learned_key(SPEC, "others") != key
    other = ModelSpec(name="m", backend="fake", tasks=["generate"], source="x", parameters={"a": 2})
    assert learned_key(other, "weights") != key


def test_our_version_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    learned_key(SPEC, "weights")
    monkeypatch.setattr("gateway.engine.learned.version", None)
    learned_key(SPEC, "weights")
