from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.sentence.files import batch_tokens, read_facts
from config.parameters import SentenceParameters

Write = Callable[[Path, Any], None]


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | changes))


def test_reads_the_facts(model_folder: Path) -> None:
    facts = read_facts(model_folder, SentenceParameters())
    assert (facts.architecture, facts.dimensions, facts.vocabulary_size) == ("BertModel", 8, 11)
    assert (facts.pooling, facts.max_tokens, facts.weights_bytes) == ("mean", 12, 1000)


def test_half_precision_halves_the_estimate(model_folder: Path) -> None:
    full = read_facts(model_folder, SentenceParameters())
    half = read_facts(model_folder, SentenceParameters(dtype="bfloat16"))
    assert half.weights_bytes * 2 == full.weights_bytes
    assert half.token_activation_bytes * 2 == full.token_activation_bytes


def test_max_seq_length_is_no_limit(model_folder: Path, write_json: Write) -> None:
    write_json(model_folder / "sentence_bert_config.json", {"max_seq_length": 6, "do_lower_case": True})
    facts = read_facts(model_folder, SentenceParameters())
    assert facts.max_tokens == 12
    assert facts.lower_case


def test_tokenizer_limit_counts(model_folder: Path, write_json: Write) -> None:
    write_json(model_folder / "tokenizer_config.json", {"model_max_length": 9})
    assert read_facts(model_folder, SentenceParameters()).max_tokens == 9


def test_an_absurd_tokenizer_limit_is_none(model_folder: Path, write_json: Write) -> None:
    write_json(model_folder / "tokenizer_config.json", {"model_max_length": 1000000000000000019884624838656})
    assert read_facts(model_folder, SentenceParameters()).max_tokens == 12


def test_roberta_positions_start_after_the_padding_id(model_folder: Path) -> None:
    change_config(model_folder, model_type="roberta", pad_token_id=1)
    assert read_facts(model_folder, SentenceParameters()).max_tokens == 10


def test_a_model_without_positions_has_no_limit(model_folder: Path) -> None:
    change_config(model_folder, max_position_embeddings=0)
    assert read_facts(model_folder, SentenceParameters()).max_tokens == 0


def test_configured_limit(model_folder: Path) -> None:
    assert read_facts(model_folder, SentenceParameters(max_tokens=5)).max_tokens == 5
    with pytest.raises(ValueError, match="max_tokens is 13, but the model has 12 positions"):
        read_facts(model_folder, SentenceParameters(max_tokens=13))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"word_embedding_dimension": 8}, "mean"),
    ],
)
def test_pooling_of_the_folder(
    model_folder: Path, write_json: Write, settings: dict[str, Any], expected: str
) -> None:
    write_json(model_folder / "1_Pooling" / "config.json", settings)
    assert read_facts(model_folder, SentenceParameters()).pooling == expected


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"cls_token \+ mean_tokens"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
    ],
)
def test_other_pooling_is_refused(
    model_folder: Path, write_json: Write, settings: dict[str, Any], named: str
) -> None:
    write_json(model_folder / "1_Pooling" / "config.json", settings)
    with pytest.raises(ValueError, match=named):
        read_facts(model_folder, SentenceParameters())
    assert read_facts(model_folder, SentenceParameters(pooling="cls")).pooling == "cls"


def test_an_unknown_stage_is_refused(model_folder: Path, write_json: Write) -> None:
    stage = {"idx": 0, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    write_json(model_folder / "modules.json", [stage])
    with pytest.raises(ValueError, match="Dense"):
        read_facts(model_folder, SentenceParameters())


def test_broken_folders_say_what_is_wrong(model_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json"):
        read_facts(model_folder / "elsewhere", SentenceParameters())
    (model_folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="safetensors"):
        read_facts(model_folder, SentenceParameters())
    (model_folder / "config.json").write_text('{"model_type": "bert", "hidden_size": "many"}')
    with pytest.raises(ValueError, match=r"config\.json: .*hidden_size"):
        read_facts(model_folder, SentenceParameters())


def test_batch_tokens_follow_the_device() -> None:
    assert batch_tokens(SentenceParameters(), "cpu") < batch_tokens(SentenceParameters(), "cuda:0")
    assert batch_tokens(SentenceParameters(batch_tokens=7), "cpu") == 7
