"""What a model is predicted to need."""

import os
from pathlib import Path
from typing import Any

import pytest

from backends.whisper import RUNTIME_BYTES, WhisperBackend
from config.schema import ModelSpec

MIB = 1024 * 1024


def predicted_mib(folder: Path, weights_mib: int, **parameters: Any) -> float:
    os.truncate(folder / "model.bin", weights_mib * MIB)
    spec = ModelSpec(name="w", backend="whisper", tasks=["transcribe"], source="x", parameters=parameters)
    return WhisperBackend(spec, folder).describe().memory_bytes / MIB


@pytest.mark.parametrize(("weights_mib", "seen_mib"), [(138, 1084), (72, 737)])
def test_it_is_about_what_24_clips_at_once_were_seen_to_take(
    folder: Path, weights_mib: int, seen_mib: int
) -> None:
    """whisper-base and whisper-tiny.en on two cores, clips of 27 s."""
    assert predicted_mib(folder, weights_mib) == pytest.approx(seen_mib, rel=0.05)


def test_it_grows_with_the_windows_that_are_heard_at_once(folder: Path) -> None:
    one = predicted_mib(folder, 100, batch_size=1, n_workers=1)
    six = predicted_mib(folder, 100, batch_size=2, n_workers=3)
    still = RUNTIME_BYTES / MIB + 100
    assert six - still == pytest.approx(6 * (one - still))
    assert predicted_mib(folder, 100, batch_size=4) == predicted_mib(folder, 100)
