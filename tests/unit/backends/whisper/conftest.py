"""A model folder without a model."""

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTROL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
CONTROL += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder without a model: bytes are the tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    filler = {f"filler{number}": number for number in range(len(alphabet), 50257)}
    vocabulary = {letter: number for number, letter in enumerate(alphabet)} | filler
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text('{"alignment_heads": [[1, 2]]}')
    (folder / "model.bin").write_bytes(b"x" * 10)
    return folder
