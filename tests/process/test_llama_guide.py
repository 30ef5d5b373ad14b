"""Guides over the real starter model's vocabulary."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from llguidance import LLMatcher

from backends.llama_cpp.guide import GuideError, GuideMaker
from backends.llama_cpp.model import Vocabulary, open_model


def _lark(source: str) -> str:
    return LLMatcher.grammar_from_lark(source)


@pytest.fixture(scope="module")
def vocabulary(smollm2_path: Path) -> Iterator[Vocabulary]:
    model = open_model(smollm2_path, vocab_only=True)
    yield model.vocabulary
    model.close()


@pytest.fixture(scope="module")
def maker(vocabulary: Vocabulary) -> GuideMaker:
    return GuideMaker(vocabulary)


def _row(vocabulary: Vocabulary) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.zeros(vocabulary.size, dtype=np.float32)


def test_forced_tokens_are_what_the_model_would_write(vocabulary: Vocabulary, maker: GuideMaker) -> None:
    text = '{"name": "get_weather", "arguments": '
    guide = maker.guide(_lark(f"start: {json.dumps(text)} /[0-9]/"))
    forced = guide.forced()
    written = vocabulary.tokenize(text, parse_special=False).tolist()
    assert forced
    assert forced == written[: len(forced)]
    assert len(written) - len(forced) <= 1
    for token in forced:
        guide.accept(token)
    assert guide.forced() == []
    assert guide.allowed(vocabulary.tokenize("7", parse_special=False).tolist()) == 1


def test_every_end_token_may_end_an_answer(vocabulary: Vocabulary, maker: GuideMaker) -> None:
    guide = maker.guide(_lark('start: "yes"'))
    for token in vocabulary.tokenize("yes", parse_special=False).tolist():
        guide.accept(token)
    row = _row(vocabulary)
    guide.mask(row)
    assert guide.stopped
    assert set(np.flatnonzero(row == 0).tolist()) == vocabulary.end_tokens()


def test_control_tokens_are_no_text(vocabulary: Vocabulary, maker: GuideMaker) -> None:
    control = int(vocabulary.tokenize("<|im_start|>", parse_special=True)[0])
    row = _row(vocabulary)
    maker.guide(_lark('start: "<|im_start|>"')).mask(row)
    assert row[control] == -np.inf
    row = _row(vocabulary)
    maker.guide(_lark(f"start: <[{control}]>")).mask(row)
    assert np.flatnonzero(row == 0).tolist() == [control]


def test_a_trigger_inside_a_token_wakes_the_guide(vocabulary: Vocabulary, maker: GuideMaker) -> None:
    (inside,) = vocabulary.tokenize(" where", parse_special=False).tolist()
    guide = maker.guide(_lark('start: "here" " end"'), ["here"])
    guide.accept(inside)
    assert guide.active
    forced = guide.forced()
    assert b"".join(vocabulary.piece(token) for token in forced) == b" end"


def test_a_control_token_can_be_a_trigger(vocabulary: Vocabulary, maker: GuideMaker) -> None:
    control = int(vocabulary.tokenize("<|im_start|>", parse_special=True)[0])
    guide = maker.guide(_lark(f'start: <[{control}]> "x"'), ["<|im_start|>"])
    guide.accept(control)
    assert guide.active
    row = _row(vocabulary)
    guide.mask(row)
    assert {vocabulary.piece(token) for token in np.flatnonzero(row == 0).tolist()} == {b"x"}


def test_guides_of_one_grammar_do_not_share_their_state(vocabulary: Vocabulary, maker: GuideMaker) -> None:
    grammar = _lark('start: "a" "b"')
    a, b = (vocabulary.tokenize(text, parse_special=False).tolist() for text in "ab")
    one, other = maker.guide(grammar), maker.guide(grammar)
    one.accept(a[0])
    assert one.allowed(b) == 1
    assert other.allowed(a) == 1
    with pytest.raises(GuideError):
        one.accept(a[0])
    assert maker.guide(grammar).allowed(a) == 1


def test_a_grammar_that_is_none_raises(maker: GuideMaker) -> None:
    with pytest.raises(GuideError):
        maker.guide("no grammar at all")
