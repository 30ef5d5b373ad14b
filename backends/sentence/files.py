"""What a model folder says about itself, read without loading any weights.

Owns the reading of the folder's JSON files and the refusal of what the engine would compute wrongly. Must
not import torch, transformers or tokenizers.

The layout is the one that sentence-transformers writes: `modules.json` lists the stages, `1_Pooling`
holds the pooling's settings, `sentence_bert_config.json` and `tokenizer_config.json` the text's.
"""

from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from backends.model_folder import DTYPE_BYTES, read_config, read_json
from config.parameters import SentenceParameters

Pooling = Literal["mean", "cls"]

STAGES = {"Transformer", "Pooling", "Normalize"}
"""Stages of modules.json that the engine computes; any other (Dense, LSTM …) changes the vectors."""
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "longformer"}
"""Model types whose first position is `pad_token_id + 1`, so that many positions are never used."""
CPU_BATCH_TOKENS = 2048
"""Measured with MiniLM on two cores: 512 tokens a pass reach 70 % of the speed, 1024 to 16384 all of it."""
GPU_BATCH_TOKENS = 16384
LIVE_ACTIVATIONS = 6
"""Intermediate-sized float rows alive at once in a layer, rounded up from measured peaks."""


class _ModelConfig(Struct):
    model_type: str
    hidden_size: int
    vocab_size: int
    intermediate_size: int = 0
    max_position_embeddings: int = 0
    pad_token_id: int | None = None
    architectures: list[str] | None = None


class _TokenizerConfig(Struct):
    model_max_length: float | None = None


class _SentenceConfig(Struct):
    do_lower_case: bool = False


class _Stage(Struct):
    type: str


class ModelFacts(Struct, frozen=True):
    """The part of the folder's settings that the preparer and the engine work by."""

    architecture: str
    dimensions: int
    vocabulary_size: int
    max_tokens: int
    """Longest input, tokens, special ones counted; 0: the model sets no limit."""
    pooling: Pooling
    pad_token_id: int
    lower_case: bool
    weights_bytes: int
    token_activation_bytes: int
    """Estimated peak of a forward pass, for each padded token in it."""


def batch_tokens(parameters: SentenceParameters, device: str) -> int:
    """Padded tokens in one forward pass on `device`."""
    if parameters.batch_tokens != "auto":
        return parameters.batch_tokens
    return CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS


def read_facts(folder: Path, parameters: SentenceParameters) -> ModelFacts:
    """The facts of the model in `folder`. Raises ValueError naming the file and what is wrong with it."""
    config = read_config(folder, _ModelConfig)
    _check_stages(folder)
    bytes_per_number = DTYPE_BYTES[parameters.dtype]
    row_bytes = max(config.intermediate_size, config.hidden_size) * bytes_per_number
    sentence = read_json(folder / "sentence_bert_config.json", _SentenceConfig) or _SentenceConfig()
    return ModelFacts(
        architecture=(config.architectures or [config.model_type])[0],
        dimensions=config.hidden_size,
        vocabulary_size=config.vocab_size,
        max_tokens=_max_tokens(folder, config, parameters),
        pooling=_pooling(folder, parameters),
        pad_token_id=config.pad_token_id or 0,
        lower_case=sentence.do_lower_case,
        weights_bytes=_weights_bytes(folder) * bytes_per_number // DTYPE_BYTES["float32"],
        token_activation_bytes=LIVE_ACTIVATIONS * row_bytes,
    )


def _check_stages(folder: Path) -> None:
    for stage in read_json(folder / "modules.json", list[_Stage]) or []:
        kind = stage.type.rpartition(".")[2]
        if kind not in STAGES:
            raise ValueError(f"{folder / 'modules.json'}: a {kind} stage is not supported")


def _pooling(folder: Path, parameters: SentenceParameters) -> Pooling:
    """The configured pooling, else the folder's own, else mean.

    The pooling's file has one `pooling_mode_<kind>` flag a kind, or (newer) `pooling_mode: <kind>`.
    """
    if parameters.pooling != "auto":
        return parameters.pooling
    path = folder / "1_Pooling" / "config.json"
    settings: dict[str, Any] = read_json(path, dict[str, Any]) or {}
    prefix = "pooling_mode_"
    chosen = sorted(key.removeprefix(prefix) for key, on in settings.items() if key.startswith(prefix) and on)
    kinds = {"cls_token": "cls", "cls": "cls", "mean_tokens": "mean", "mean": "mean"}
    names = chosen or [str(settings.get("pooling_mode", "mean"))]
    if len(names) != 1 or names[0] not in kinds:
        raise ValueError(f"{path}: pooling by {' + '.join(names)} is not supported, only mean or cls")
    return "cls" if kinds[names[0]] == "cls" else "mean"


def _max_tokens(folder: Path, config: _ModelConfig, parameters: SentenceParameters) -> int:
    """Longest input. auto: what the positions and the tokenizer allow.

    `max_seq_length` of sentence_bert_config.json is not a limit of the model: it is where
    sentence-transformers truncates in silence. Set `max_tokens` to it to refuse beyond.
    """
    positions = config.max_position_embeddings
    if config.model_type in OFFSET_POSITIONS:
        positions -= (config.pad_token_id or 0) + 1
    tokenizer = read_json(folder / "tokenizer_config.json", _TokenizerConfig) or _TokenizerConfig()
    limits = [limit for limit in (positions, tokenizer.model_max_length) if limit and 0 < limit < 1e9]
    allowed = int(min(limits, default=0))
    if parameters.max_tokens == "auto":
        return allowed
    if 0 < positions < parameters.max_tokens:
        raise ValueError(f"max_tokens is {parameters.max_tokens}, but the model has {positions} positions")
    return parameters.max_tokens


def _weights_bytes(folder: Path) -> int:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if size == 0:
        raise ValueError(f"{folder} holds no *.safetensors weights")
    return size
