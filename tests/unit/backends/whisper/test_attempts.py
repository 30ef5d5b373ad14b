"""What is heard again, and which hearing counts."""

import pytest

from backends.whisper.attempts import Attempt, Score, attempts, best, compression_ratio, enough

GOOD = Score(-0.3, 1.2, 0.0)
UNLIKELY = Score(-1.4, 1.2, 0.0)
LOOP = Score(-0.2, 5.0, 0.0)
SILENT = Score(-1.4, 1.0, 0.9)
CHORUS = Score(-0.1, 5.0, 0.9)


def test_a_short_clip_is_heard_in_the_full_window_before_it_gets_warmer() -> None:
    assert attempts(None, [0.0, 0.4], short=True) == [
        Attempt(0.0, False),
        Attempt(0.0, True),
        Attempt(0.4, True),
    ]
    assert attempts(0.0, [0.0, 0.4], short=False) == [Attempt(0.0, True), Attempt(0.4, True)]


def test_a_temperature_of_the_requests_own_is_the_only_one() -> None:
    assert attempts(0.5, [0.0, 0.4], short=False) == [Attempt(0.5, True)]


@pytest.mark.parametrize(
    ("score", "good"), [(GOOD, True), (UNLIKELY, False), (LOOP, False), (SILENT, True), (CHORUS, False)]
)
def test_what_is_good_enough(score: Score, good: bool) -> None:
    assert score.good is good


def test_a_sure_text_counts_though_silence_seemed_likely() -> None:
    assert not Score(-0.3, 1.2, 0.9).silent
    assert not CHORUS.silent


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([LOOP, GOOD], 1),
        ([UNLIKELY, Score(-1.2, 1.0, 0.0)], 1),
        ([Score(-1.2, 1.0, 0.0), UNLIKELY], 0),
        ([LOOP, UNLIKELY], 1),
        ([LOOP, Score(-0.1, 6.0, 0.0)], 1),
    ],
)
def test_the_one_that_counts(scores: list[Score], expected: int) -> None:
    assert best(scores) == expected


def test_only_the_full_window_says_that_nobody_speaks() -> None:
    assert not enough(Attempt(0.0, full=False), SILENT)
    assert enough(Attempt(0.0, full=True), SILENT)
    assert enough(Attempt(0.0, full=False), GOOD)


def test_a_short_window_counts_only_where_its_text_is_sure() -> None:
    unsure = Score(-0.9, 1.2, 0.0)
    assert not enough(Attempt(0.0, full=False), unsure)
    assert enough(Attempt(0.0, full=True), unsure)
    assert not enough(Attempt(0.0, full=True), LOOP)


def test_a_short_window_does_not_count_where_it_says_its_sentence_twice() -> None:
    sentence = "Welcome to a series of videos where we are going to tackle every single team in the league. "
    twice = Score(-0.2, compression_ratio(2 * sentence), 0.1)
    assert compression_ratio(sentence) < 1.5
    assert twice.good  # as far as Whisper's own bound goes
    assert not enough(Attempt(0.0, full=False), twice)
    assert enough(Attempt(0.0, full=True), twice)


def test_repetition_compresses() -> None:
    assert compression_ratio("the quick brown fox jumps over a lazy dog") < 1.5
    assert compression_ratio("again and again and " * 20) > 2.4
    assert compression_ratio("") == 0
