"""Word times out of an alignment."""

import pytest

from backends.whisper.words import Word, timed


def rounded(words: list[Word]) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start_s, 2), round(word.end_s, 2)) for word in words]


def test_a_word_lasts_from_its_first_token_to_the_next_words() -> None:
    alignment = [(0, 0), (0, 9), (1, 10), (1, 19), (2, 20), (2, 29)]
    words = timed([(" one", 1), (" two", 2)], alignment, [0.5, 0.4, 0.8], first=0)
    assert rounded(words) == [(" one", 0.0, 0.2), (" two", 0.2, 0.58)]
    assert [word.probability for word in words] == pytest.approx([0.5, 0.6])


def test_a_segment_that_begins_later_in_the_window() -> None:
    alignment = [(0, 0), (1, 50), (2, 70), (2, 80)]
    assert rounded(timed([(" b", 1), (" c", 1)], alignment, [1.0, 1.0, 1.0], first=1)) == [
        (" b", 1.0, 1.4),
        (" c", 1.4, 1.6),
    ]


def test_punctuation_stands_with_its_word() -> None:
    alignment = [(index, 10 * index) for index in range(5)]
    words = timed([(' "', 1), ("Yes", 1), (",", 1), (" no", 1), (".", 1)], alignment, [1.0] * 5, first=0)
    assert [word.text for word in words] == [' "Yes,', " no."]
    assert words[0].start_s == pytest.approx(0.2)


def test_opening_marks_in_a_row_keep_their_times() -> None:
    alignment = [(index, 100 + 10 * index) for index in range(4)]
    parts = [(" hello", 1), (" -", 1), (" -", 1)]
    words = timed(parts, alignment, [0.9, 0.8, 0.7], first=0)
    assert rounded(words) == [(" hello", 2.0, 2.2), (" - -", 2.2, 2.6)]
    assert words[1].probability == pytest.approx(0.7)
    (followed,) = timed([(" -", 1), (" -", 1), (" yes", 1)], alignment, [0.9, 0.8, 0.7], first=0)
    assert rounded([followed]) == [(" - - yes", 2.4, 2.6)]


def test_a_word_beside_a_pause_does_not_get_the_pause() -> None:
    alignment = [(0, 0), (1, 200), (2, 215), (3, 230), (3, 245)]
    words = timed([(" a", 1), (" b", 1), (" c", 1), (" d", 1)], alignment, [1.0] * 4, first=0)
    assert words[0].start_s == pytest.approx(4.0 - 0.6)


def test_tokens_without_a_moment_of_their_own() -> None:
    assert rounded(timed([(" a", 1), (" b", 1)], [(0, 5)], [1.0, 1.0], first=0)) == [
        (" a", 0.1, 0.1),
        (" b", 0.1, 0.1),
    ]
