from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from backends.base import JobError
from backends.protocol import Chat, EmbedParameters, Item, Job, Text, Tokens
from backends.sentence.files import read_facts
from backends.sentence.prepare import SentenceItem, SentencePreparer
from config.parameters import SentenceParameters

CLS, SEP, HELLO, WORLD = 2, 3, 4, 5  # of the folder in conftest.py


def preparer(folder: Path, token_input: Literal["model", "cl100k"] = "model") -> SentencePreparer:
    return SentencePreparer(folder, read_facts(folder, SentenceParameters()), token_input)


def job(*items: Item, dimensions: int | None = None) -> Job:
    return Job("job", "model", "embed", EmbedParameters(dimensions), list(items))


def prepared_ids(prepare: SentencePreparer, *items: Item) -> list[list[int]]:
    return [item.ids for item in prepare.prepare(job(*items))]


def failure(prepare: SentencePreparer, *items: Item) -> JobError:
    with pytest.raises(JobError) as caught:
        prepare.prepare(job(*items))
    return caught.value


def test_texts_get_the_special_tokens(model_folder: Path) -> None:
    assert prepared_ids(preparer(model_folder), Text("Hello world"), Text("")) == [
        [CLS, HELLO, WORLD, SEP],
        [CLS, SEP],
    ]


def test_nothing_is_truncated_or_padded(model_folder: Path) -> None:
    assert prepared_ids(preparer(model_folder), Text("hello " * 10)) == [[CLS, *[HELLO] * 10, SEP]]


def test_control_tokens_in_a_text_stay_text(model_folder: Path) -> None:
    ids = prepared_ids(preparer(model_folder), Text("hello [SEP] world [CLS]"))[0]
    assert ids == [CLS, HELLO, 6, 8, 7, WORLD, 6, 9, 7, SEP]


def test_own_ids_are_framed_once(model_folder: Path) -> None:
    bare, framed, half = Tokens([HELLO]), Tokens([CLS, HELLO, SEP]), Tokens([CLS, HELLO])
    assert prepared_ids(preparer(model_folder), bare, framed, half, Tokens([])) == [
        [CLS, HELLO, SEP],
        [CLS, HELLO, SEP],
        [CLS, CLS, HELLO, SEP],
        [CLS, SEP],
    ]


def test_texts_and_ids_keep_their_order(model_folder: Path) -> None:
    assert prepared_ids(preparer(model_folder), Text("hello"), Tokens([WORLD]), Text("world")) == [
        [CLS, HELLO, SEP],
        [CLS, WORLD, SEP],
        [CLS, WORLD, SEP],
    ]


@pytest.mark.parametrize("token", [-1, 11, 2**40])
def test_foreign_ids_are_refused(model_folder: Path, token: int) -> None:
    error = failure(preparer(model_folder), Text("hello"), Tokens([HELLO, token]))
    assert (error.param, error.code) == ("input", "invalid_token_id")
    assert f"Input 1 has the token id {token}" in error.message
    assert "cl100k" in error.message


def test_too_long_names_the_input_and_both_numbers(model_folder: Path) -> None:
    error = failure(preparer(model_folder), Text("hello"), Text("hello " * 11))
    assert (error.param, error.code) == ("input", "context_length_exceeded")
    assert "Input 1 has 13 tokens" in error.message
    assert "at most 12" in error.message


def test_openai_ids_are_decoded_to_text(model_folder: Path) -> None:
    # cl100k: 15339 "hello", 1917 " world", 978 "é"
    ids = prepared_ids(preparer(model_folder, "cl100k"), Tokens([15339, 1917]), Tokens([978]), Tokens([]))
    assert ids == [[CLS, HELLO, WORLD, SEP], [CLS, 10, SEP], [CLS, SEP]]


def test_half_a_character_is_replaced(model_folder: Path) -> None:
    # 220 is a space, 76460 the first of an emoji's two tokens: three of its four bytes
    assert prepared_ids(preparer(model_folder, "cl100k"), Tokens([15339, 220, 76460])) == [
        [CLS, HELLO, 1, SEP]
    ]


@pytest.mark.parametrize("token", [-1, 100256, 10**9, 2**40])
def test_ids_outside_cl100k_are_refused(model_folder: Path, token: int) -> None:
    error = failure(preparer(model_folder, "cl100k"), Tokens([token]))
    assert (error.param, error.code) == ("input", "invalid_token_id")


def test_a_conversation_is_refused(model_folder: Path) -> None:
    assert failure(preparer(model_folder), Chat([])).param == "input"


def test_only_its_own_dimensions(model_folder: Path) -> None:
    prepare = preparer(model_folder)
    assert len(prepare.prepare(job(Text("hello"), dimensions=8))) == 1
    with pytest.raises(JobError, match="8 dimensions") as caught:
        prepare.prepare(job(Text("hello"), dimensions=4))
    assert caught.value.param == "dimensions"


def test_nothing_at_all_is_refused_without_special_tokens(
    model_folder: Path, write_json: Callable[[Path, Any], None]
) -> None:
    path = model_folder / "tokenizer.json"
    write_json(path, msgspec.json.decode(path.read_bytes()) | {"post_processor": None})
    prepare = preparer(model_folder)
    assert prepared_ids(prepare, Text("hello")) == [[HELLO]]
    assert "Input 1 is empty" in failure(prepare, Text("hello"), Text("")).message


def test_a_broken_tokenizer_is_a_bad_model(model_folder: Path) -> None:
    (model_folder / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        preparer(model_folder)


def test_prepared_items_cross_the_process_border(model_folder: Path) -> None:
    items = preparer(model_folder).prepare(job(Text("hello")))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(items), type=list[SentenceItem]) == items
