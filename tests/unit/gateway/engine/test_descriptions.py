"""When a remembered description no longer counts."""

import os
import sys
from pathlib import Path

import pytest

from gateway.engine.descriptions import code_state


def plugin(folder: Path, module: str) -> None:
    """A distribution that brings a backend in a file of its own."""
    facts = folder / "plugin-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(f"[llm_cortex.backends]\nplugged = {module}:Backend\n")


def test_changed_code_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    plugin(tmp_path, "plugged_package.backend")
    package = tmp_path / "plugged_package"
    package.mkdir()
    for name in ("__init__.py", "backend.py", "notes.txt"):
        (package / name).write_text("raise SystemExit('imported')")
    before = code_state("plugged")
    assert [value for value, _ in before] == ["plugged_package.backend:Backend"]
    assert code_state("plugged") == before
    changed = package / "backend.py"
    stamp = changed.stat().st_mtime_ns + 5_000_000_000
    os.utime(changed, ns=(stamp, stamp))
    assert code_state("plugged") == [("plugged_package.backend:Backend", stamp)]
    assert "plugged_package" not in sys.modules


def test_a_backend_in_one_file_and_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    plugin(tmp_path, "plugged_file")
    file = tmp_path / "plugged_file.py"
    file.write_text("")
    assert code_state("plugged") == [("plugged_file:Backend", file.stat().st_mtime_ns)]
    assert code_state("nobody's") == []


def test_our_own_backends_are_found() -> None:
    ((value, changed),) = code_state("fake")
    assert value == "backends.fake:FakeStepBackend"
    assert changed > 0
