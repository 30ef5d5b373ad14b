"""Writes models of transformers as GGUF files, so that llama.cpp can be held against transformers."""

import json
from pathlib import Path
from typing import Any

import gguf
from safetensors.numpy import load_file

_POOLING = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS, "rank": gguf.PoolingType.RANK}
_UNUSED = ("embeddings.position_ids", "pooler.")
_CONTINUED = "##"
_WORD = "\u2581"


def write_bert_gguf(folder: Path, path: Path, pooling: str | None = "mean") -> None:
    """The model in `folder` at `path`, in float32. `pooling`: what the file says of itself; None: nothing."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.BERT])
    writer.add_name(folder.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(_POOLING[pooling])
    _add_vocabulary(writer, folder, config)
    tensors = load_file(folder / "model.safetensors")
    used = {name: tensor for name, tensor in tensors.items() if not name.startswith(_UNUSED)}
    _write(writer, used, gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])


def write_t5_encoder_gguf(model: Any, path: Path) -> None:
    """A T5EncoderModel at `path`, in float32, with a vocabulary of as many words as it has rows."""
    config = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.T5ENCODER])
    writer.add_context_length(512)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_block_count(config.num_layers)
    writer.add_head_count(config.num_heads)
    writer.add_key_length(config.d_kv)
    writer.add_value_length(config.d_kv)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    writer.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"{_WORD}w{n}" for n in range(4, config.vocab_size))]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.CONTROL] * 4 + [gguf.TokenType.NORMAL] * (len(words) - 4))
    for add, token in (
        (writer.add_unk_token_id, 1),
        (writer.add_bos_token_id, 2),
        (writer.add_sep_token_id, 3),
    ):
        add(token)
    tensors = {
        name: tensor.numpy() for name, tensor in model.state_dict().items() if "embed_tokens" not in name
    }
    _write(writer, tensors, gguf.MODEL_ARCH.T5ENCODER, config.num_layers)


def _add_vocabulary(writer: gguf.GGUFWriter, folder: Path, config: dict[str, int]) -> None:
    """WordPiece as llama.cpp wants it: a mark where a word begins instead of one where it goes on."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    by_id = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_token_list([text if text in special else _phantom(text) for text, _ in by_id])
    writer.add_token_types(
        [gguf.TokenType.CONTROL if text in special else gguf.TokenType.NORMAL for text, _ in by_id]
    )
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_mask_token_id(special["[MASK]"])


def _phantom(text: str) -> str:
    return text.removeprefix(_CONTINUED) if text.startswith(_CONTINUED) else _WORD + text


def _write(writer: gguf.GGUFWriter, tensors: dict[str, Any], arch: gguf.MODEL_ARCH, layers: int) -> None:
    names = gguf.get_tensor_name_map(arch, layers)
    for name, tensor in tensors.items():
        renamed = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert renamed is not None, name
        writer.add_tensor(renamed, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
