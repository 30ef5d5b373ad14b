"""What a folder with a Whisper model for CTranslate2 says about itself, read without loading any weights.

Owns the reading of its JSON files. Must not import ctranslate2 or faster_whisper.

The layout is that of `ct2-transformers-converter`: `model.bin`, `config.json`, `tokenizer.json`, a
vocabulary, and for models with other features than 80 mel bands `preprocessor_config.json`.
"""

from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from backends.model_folder import read_json

T = TypeVar("T")
_MEL_BANDS = 80


class _Added(Struct):
    id: int
    content: str


class _Tokenizer(Struct):
    added_tokens: list[_Added]


class _Config(Struct):
    alignment_heads: list[tuple[int, int]] | None = None


class _Preprocessor(Struct):
    feature_size: int = _MEL_BANDS


class ModelFacts(Struct, frozen=True):
    languages: list[str]
    """Codes of the languages it hears; only English where it is an English-only model."""
    multilingual: bool
    weights_bytes: int
    mel_bands: int
    vocabulary_size: int
    """Ids below this are text and control tokens; timestamps follow."""


def read_facts(folder: Path) -> ModelFacts:
    """The facts of the model in `folder`. Raises ValueError naming the file and what is wrong with it."""
    weights = folder / "model.bin"
    if not weights.is_file():
        raise ValueError(f"{folder} holds no model.bin: it is no Whisper model for CTranslate2")
    _read(folder / "config.json", _Config)
    added = {token.content: token.id for token in _read(folder / "tokenizer.json", _Tokenizer).added_tokens}
    try:
        first, last = added["<|startoftranscript|>"], added["<|translate|>"]
        timestamps = added["<|notimestamps|>"] + 1
    except KeyError as error:
        raise ValueError(f"{folder / 'tokenizer.json'}: lacks {error}: it is no Whisper tokenizer") from error
    languages = [
        name[2:-2] for name, id in sorted(added.items(), key=lambda item: item[1]) if first < id < last
    ]
    # English-only models have the tokens of the others too, shifted by one; their end of text is no later id.
    multilingual = first > added["<|endoftext|>"] and added["<|endoftext|>"] >= _MULTILINGUAL_END
    preprocessor = folder / "preprocessor_config.json"
    return ModelFacts(
        languages=languages if multilingual else ["en"],
        multilingual=multilingual,
        weights_bytes=weights.stat().st_size,
        mel_bands=_read(preprocessor, _Preprocessor).feature_size if preprocessor.exists() else _MEL_BANDS,
        vocabulary_size=timestamps,
    )


_MULTILINGUAL_END = 50257
"""Id of the end of text in multilingual vocabularies, which begin with one more token than English ones."""


def _read(path: Path, kind: type[T]) -> T:
    found = read_json(path, kind)
    if found is None:
        raise ValueError(f"{path.parent} holds no {path.name}")
    return found
