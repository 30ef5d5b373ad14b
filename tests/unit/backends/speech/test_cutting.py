"""Texts are cut into pieces of bounded length, and nothing that is spoken gets lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.speech.cutting import bounded, is_mostly_latin, is_speakable, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met J. K. Rowling. They spoke.", ["Dr. Smith met J. K. Rowling.", "They spoke."]),
        ('She said "Go." Then she went.', ['She said "Go."', "Then she went."]),
        ("It costs 3.50 euros, approx. two pounds.", ["It costs 3.50 euros, approx. two pounds."]),
        ("A line\n\nand another\nand a third.", ["A line", "and another", "and a third."]),
        ("今天很好。明天呢？", ["今天很好。", "明天呢？"]),
        (" \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_long_sentence_is_cut_at_clauses_and_neighbours_stay_together() -> None:
    assert bounded("one two, three; four five six: seven", 16) == [
        "one two, three;",
        "four five six:",
        "seven",
    ]


def test_a_long_clause_is_cut_between_words_and_a_long_word_anywhere() -> None:
    assert bounded("aaaa bbbb cccc", 9) == ["aaaa bbbb", "cccc"]
    assert bounded("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]


@pytest.mark.parametrize(
    "sentence", ["It cost 1,000,000 euros at 10:30.", "One,  two;three: four – 5–6、七。"]
)
def test_a_short_sentence_stays_as_it_is(sentence: str) -> None:
    assert bounded(sentence, 250) == bounded(f" {sentence}\n", 250) == [sentence]


def test_numbers_and_times_are_no_ends_of_clauses_and_spacing_is_kept() -> None:
    assert bounded("It cost 1,000,000 euros,  they say, at 10:30, or later.", 33) == [
        "It cost 1,000,000 euros,",
        "they say, at 10:30, or later.",
    ]
    assert bounded("aaa bbb 1,000  ccc:ddd", 14) == ["aaa bbb 1,000", "ccc:ddd"]
    assert bounded("今天，很好—明天、呢", 6) == ["今天，很好—", "明天、呢"]


def test_a_long_clause_without_spaces_is_cut_at_its_marks_first() -> None:
    assert bounded("你好,世界,今天很好", 7) == ["你好,世界,", "今天很好"]


@given(st.text(alphabet="ab1,;:—、 \n", max_size=100), st.integers(1, 40))
def test_pieces_are_written_as_in_the_sentence(text: str, most: int) -> None:
    at = 0
    for piece in bounded(text, most):
        assert not text[at : text.index(piece, at)].strip()
        at = text.index(piece, at) + len(piece)


@given(st.text(max_size=300), st.integers(1, 40))
def test_pieces_are_bounded_and_hold_everything_in_order(text: str, most: int) -> None:
    pieces = bounded(text, most)
    assert all(0 < len(piece) <= most for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


@given(st.text(alphabet="aA1 .!?\n\"')Dr。", max_size=100))
def test_sentences_hold_everything_in_order(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_punctuation_alone_cannot_be_spoken() -> None:
    assert not is_speakable("… – ?!")
    assert is_speakable("7")


def test_scripts() -> None:
    assert is_mostly_latin("The angle α is 30°, naïve façade")
    assert is_mostly_latin("123 !")
    assert not is_mostly_latin("これはペンです ok")
