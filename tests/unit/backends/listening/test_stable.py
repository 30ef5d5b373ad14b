"""Text that only grows."""

from hypothesis import given
from hypothesis import strategies as st

from backends.listening.stable import StableText, words


def test_what_two_hypotheses_agree_on_goes_out_but_for_the_last_word() -> None:
    stable = StableText()
    assert stable.hear("the quick") == ""
    assert stable.hear("the quick brown") == "the quick"
    assert stable.hear("the quick brown fix") == " brown"
    assert stable.hear("the quick brown fox jumps") == ""
    assert stable.finish("the quick brown fox jumps.") == "the quick brown fox jumps."


def test_what_has_gone_out_is_not_taken_back() -> None:
    stable = StableText()
    stable.hear("I scream for it now")
    assert stable.hear("I scream for it now") == "I scream for it"
    assert stable.hear("Ice cream for it now please") == ""
    assert stable.finish("Ice cream for it, now please.") == "I scream for it now please."


def test_a_change_of_case_or_mark_repeats_no_word() -> None:
    stable = StableText()
    stable.hear("and so my fellow americans ask")
    stable.hear("and so my fellow americans ask not")
    assert stable.said == "and so my fellow americans ask"
    assert stable.finish("And so, my fellow Americans, ask not what") == (
        "and so my fellow americans ask not what"
    )


def test_a_final_text_without_anything_keeps_what_was_said() -> None:
    stable = StableText()
    stable.hear("one two three")
    stable.hear("one two three")
    assert stable.finish("") == "one two"


def test_a_language_without_spaces_goes_character_by_character() -> None:
    stable = StableText()
    stable.hear("今日は天気")
    assert stable.hear("今日は天気が") == "今日は天気"
    assert stable.finish("今日は天気がいい") == "今日は天気がいい"


@given(st.text())
def test_words_joined_are_the_text(text: str) -> None:
    assert "".join(words(text)) == text.rstrip()


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "A,", "c"])).map(" ".join)),
    st.sampled_from(["", "a b", "b a c"]),
)
def test_pieces_are_a_prefix_of_the_whole_whatever_is_heard(hypotheses: list[str], final: str) -> None:
    stable = StableText()
    pieces = "".join(stable.hear(hypothesis) for hypothesis in hypotheses)
    assert pieces == stable.said
    assert stable.finish(final).startswith(pieces)
