"""Windows shared among the workers of a model: which go where, and that answers keep their order."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.whisper.hearing import Decoding, Hearing, Request, joined, shares
from backends.whisper.vocabulary import Vocabulary


class Result:
    scores = (-0.1,)
    no_speech_prob = 0.0

    def __init__(self, tokens: list[int]) -> None:
        self.sequences_ids = [tokens]


class FakeModel:
    """Two calls at a time, or none comes back. Writes the number that a window's features are."""

    def __init__(self) -> None:
        self.both = threading.Barrier(2, timeout=30)
        self.rows: list[int] = []
        """Of each call that writes."""

    def encode(self, features: Any, to_cpu: bool = False) -> Any:
        self.both.wait()
        return features

    def detect_language(self, features: Any) -> list[list[tuple[str, float]]]:
        return [[("<|de|>", 0.8)] for _ in np.array(features)]

    def generate(self, features: Any, prompts: list[list[int]], **options: Any) -> list[Result]:
        self.both.wait()
        numbers = np.array(features)[:, 0, 0]
        assert len(numbers) == len(prompts)
        self.rows.append(len(prompts))
        return [Result([int(number)]) for number in numbers]

    def align(self, features: Any, start: list[int], texts: list[list[int]], frames: list[int]) -> list[Any]:
        raise AssertionError


@pytest.mark.parametrize(
    ("rows", "workers", "expected"),
    [(1, 2, [1]), (2, 2, [1, 1]), (5, 2, [2, 3]), (8, 3, [2, 3, 3]), (4, 1, [4])],
)
def test_rows_are_shared_evenly_and_in_order(rows: int, workers: int, expected: list[int]) -> None:
    parts = shares(rows, workers)
    assert [len(part) for part in parts] == expected
    assert [row for part in parts for row in part] == list(range(rows))


def test_workers_hear_side_by_side(folder: Path) -> None:
    model = FakeModel()
    vocabulary = Vocabulary(folder, multilingual=True)
    hearing = Hearing(model, vocabulary, Decoding(5, 1), workers=2)
    requests = [Request(np.full((1, 4), n, np.float32), [], "", False) for n in range(6)]
    parts = hearing.encode(requests, 4)
    assert len(parts) == 6
    heard = hearing.write(joined(parts), requests, 4, 0.0, logprobs=False)
    assert [one.tokens for one in heard] == [[n] for n in range(6)]
    assert {one.language for one in heard} == {"de"}
    assert model.rows == [3, 3]
