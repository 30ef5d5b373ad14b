"""How calls of the model share the threads."""

from typing import Literal

import pytest

from backends.whisper.parallel import calls_and_threads
from config.parameters import WhisperParameters


@pytest.mark.parametrize(
    ("kind", "threads", "workers", "expected"),
    [
        ("cpu", 1, "auto", (1, 1)),
        ("cpu", 2, "auto", (2, 1)),
        ("cpu", 9, "auto", (2, 4)),
        ("cpu", 2, 1, (1, 2)),
        ("cpu", 2, 3, (3, 1)),
        ("cuda", 8, "auto", (1, 8)),
        ("cuda", 8, 2, (2, 4)),
    ],
)
def test_calls_divide_the_threads(
    kind: str, threads: int, workers: int | Literal["auto"], expected: tuple[int, int]
) -> None:
    parameters = WhisperParameters(n_threads=threads, n_workers=workers)
    assert calls_and_threads(parameters, kind) == expected
