"""Guides over a vocabulary of single bytes: triggers, masks and errors."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from backends.chat.answer import AnswerFormat
from backends.llama_cpp.guide import Guide, GuideError, TokenMask, TriggerWatch, parser_limits

_PLAIN = AnswerFormat()
_TOKENIZER = LLTokenizer("byte")
_PIECES = [bytes([byte]) for byte in range(256)]
_MASK = TokenMask(_TOKENIZER.vocab_size, _TOKENIZER.eos_tokens)


def _guide(lark: str, triggers: Sequence[str] = (), format: AnswerFormat = _PLAIN) -> Guide:
    grammar = LLMatcher.grammar_from_lark(lark)
    matcher = LLMatcher(_TOKENIZER, grammar, log_level=0, limits=parser_limits())
    return Guide(matcher, _TOKENIZER, _MASK, _PIECES, TriggerWatch(triggers, format) if triggers else None)


def _row() -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.zeros(_TOKENIZER.vocab_size, dtype=np.float32)


def _allowed(guide: Guide) -> set[int]:
    row = _row()
    guide.mask(row)
    return set(np.flatnonzero(row == 0).tolist())


def test_only_what_the_grammar_allows_is_left() -> None:
    guide = _guide('start: "a" ("b" | "c")')
    assert _allowed(guide) == {ord("a")}
    guide.accept(ord("a"))
    assert _allowed(guide) == set(b"bc")


def test_the_end_is_allowed_exactly_when_the_answer_is_whole() -> None:
    guide = _guide("start: /ab*/")
    assert not _allowed(guide) & set(_TOKENIZER.eos_tokens)
    guide.accept(ord("a"))
    assert _allowed(guide) == {ord("b"), *_TOKENIZER.eos_tokens}
    assert not guide.stopped


def test_after_the_end_there_is_nothing_but_the_end() -> None:
    guide = _guide('start: "a"')
    guide.accept(ord("a"))
    assert guide.stopped
    assert _allowed(guide) == set(_TOKENIZER.eos_tokens)
    assert guide.forced() == []


def test_allowed_counts_without_taking() -> None:
    guide = _guide('start: "abc"')
    assert guide.allowed(list(b"abx")) == 2
    assert guide.allowed(list(b"abc")) == 3
    assert _allowed(guide) == {ord("a")}


def test_a_wrong_token_fails_this_guide_alone() -> None:
    one, other = _guide('start: "ab"'), _guide('start: "ab"')
    with pytest.raises(GuideError, match="grammar"):
        one.accept(ord("x"))
    with pytest.raises(GuideError):
        one.mask(_row())
    with pytest.raises(GuideError):
        one.accept(ord("a"))
    assert _allowed(other) == {ord("a")}


def test_errors_do_not_tell_the_request() -> None:
    guide = _guide('start: "secret"')
    guide.accept(ord("s"))
    with pytest.raises(GuideError) as caught:
        guide.accept(ord("x"))
    assert "secret" not in str(caught.value)


def test_a_row_without_any_token_left_is_an_error() -> None:
    row = _row()
    row[ord("a")] = -np.inf
    with pytest.raises(GuideError, match="rules out"):
        _guide('start: "a"').mask(row)


def test_a_sleeping_guide_allows_everything() -> None:
    guide = _guide('start: "<t>" "a"', ["<t>"])
    assert not guide.active
    assert len(_allowed(guide)) == _TOKENIZER.vocab_size
    assert guide.forced() == []
    assert guide.allowed([1, 2, 3]) == 3
    for token in b"any <t":
        guide.accept(token)
        assert not guide.active
    guide.accept(ord(">"))
    assert guide.active
    assert _allowed(guide) == {ord("a")}
    assert not guide.stopped


def _cut(data: bytes, cuts: Sequence[int]) -> list[tuple[int, bytes]]:
    borders = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [(number, data[a:b]) for number, (a, b) in enumerate(pairwise(borders))]


@given(
    before=st.text(alphabet="<t>é", max_size=20),
    after=st.text(alphabet="<t>é", max_size=5),
    cuts=st.lists(st.integers(1, 40), max_size=12),
    triggers=st.lists(st.text(alphabet="<t>é", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_a_trigger_is_found_wherever_tokens_are_cut(
    before: str, after: str, cuts: list[int], triggers: list[str]
) -> None:
    data = (before + triggers[0] + after).encode()
    pieces = _cut(data, cuts)
    watch = TriggerWatch(triggers)
    seen = b""
    for number, piece in pieces:
        seen += piece
        found = watch.feed(number, piece)
        starts = [at for trigger in triggers if (at := seen.find(trigger.encode())) >= 0]
        assert (found is not None) == bool(starts)
        if found is not None:
            rest, tokens = found
            whole = b"".join(dict(pieces)[token] for token in tokens)
            assert seen.endswith(rest + whole)
            assert len(seen) - len(rest + whole) == min(starts)
            assert tokens == list(range(number + 1 - len(tokens), number + 1))
            return
    pytest.fail("the trigger was never found")


def test_a_watch_keeps_only_what_may_still_become_a_trigger() -> None:
    watch = TriggerWatch(["abc"])
    for _ in range(1000):
        assert watch.feed(0, b"ab") is None
    assert len(watch._recent) <= 2


_THINKING = AnswerFormat(think_open="<k>", think_close="</k>", in_reasoning=True)
_MAY_THINK = AnswerFormat(think_open="<k>", think_close="</k>")


def _woken_at(text: str, format: AnswerFormat, triggers: Sequence[str], lark: str) -> int:
    """After how many bytes; -1: never."""
    guide = _guide(lark, triggers, format)
    for number, token in enumerate(text.encode()):
        guide.accept(token)
        if guide.active:
            return number + 1
    return -1


@pytest.mark.parametrize(
    ("text", "format", "woken"),
    [
        ("<t>", AnswerFormat(), 3),
        ("<t></k><t>", _THINKING, 10),
        ("<t></k", _THINKING, -1),
        (" <k><t></k>\n<t>", _MAY_THINK, 15),
        ("<kt><t>", _MAY_THINK, 7),
        ("a<k><t>", _MAY_THINK, 7),
        ("<t>", _MAY_THINK, 3),
    ],
)
def test_what_is_thought_triggers_nothing(text: str, format: AnswerFormat, woken: int) -> None:
    assert _woken_at(text, format, ["<t>"], 'start: "<t>" "a"') == woken


def test_the_end_of_reasoning_may_be_the_trigger() -> None:
    assert _woken_at("a</k></k>", _THINKING, ["</k>"], 'start: "</k>" /.*/') == 5


def test_an_answer_that_is_bound_after_reasoning_does_not_end_before() -> None:
    everything = set(range(_TOKENIZER.vocab_size))
    bound = _guide('start: "</k>" "a"', ["</k>"], _THINKING)
    assert _allowed(bound) == everything - set(_TOKENIZER.eos_tokens)
    offered = _guide('start: "<t>" "a"', ["<t>"], _THINKING)
    assert _allowed(offered) == everything


@given(cuts=st.lists(st.integers(1, 40), max_size=12))
def test_reasoning_is_skipped_however_tokens_are_cut(cuts: list[int]) -> None:
    data = b"<t> hm </k\n</k> so <t>"
    watch = TriggerWatch(["<t>"], _THINKING)
    found = [result for token, piece in _cut(data, cuts) if (result := watch.feed(token, piece)) is not None]
    assert len(found) == 1  # the last one
    assert not found[0][1] or found[0][1][-1] == len(_cut(data, cuts)) - 1


def test_a_text_that_goes_on_unlike_a_call_is_no_trigger() -> None:
    matcher = LLMatcher(_TOKENIZER, LLMatcher.grammar_from_lark('start: "<t>" "a"'), log_level=0)
    pieces = [*_PIECES, b"<t>b", b"<t>a"]
    guide = Guide(matcher, _TOKENIZER, _MASK, pieces, TriggerWatch(["<t>"]))
    guide.accept(256)
    assert not guide.active
    for token in b"<t>":
        guide.accept(token)
    assert guide.active


def test_what_must_come_after_reasoning_is_an_error_where_it_does_not() -> None:
    pieces = [*_PIECES, b"</k>b"]
    matcher = LLMatcher(_TOKENIZER, LLMatcher.grammar_from_lark('start: "</k>" "a"'), log_level=0)
    guide = Guide(matcher, _TOKENIZER, _MASK, pieces, TriggerWatch(["</k>"], _THINKING))
    with pytest.raises(GuideError):
        guide.accept(256)
