"""Tiny models with random weights that take pictures or sound: a language model and its projector, as GGUF.

Their answers mean nothing, but each picture and each recording gives another one.
"""

from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np

Kind = Literal["llava", "qwen2vl", "gemma3", "idefics3", "ultravox"]
"""Pictures at one position a token; M-RoPE; not causal inside a picture; in tiles; sound."""

WIDTH = 64
LAYERS = 2
HEADS = 4
CONTEXT = 2048
_CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_CONTROL = ["<unk>", "<s>", "</s>"]
_MARKS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<start_of_image>",
    "<end_of_image>",
]
_TILES = [
    *("\n\n", "<fake_token_around_image>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)),
]
_BYTES = [f"<0x{number:02X}>" for number in range(256)]
_LETTERS = ["\u2581", *(chr(code) for code in range(33, 127))]
_PATCH = 4


class _Weights:
    """Random tensors, the same for the same seed."""

    def __init__(self, writer: gguf.GGUFWriter, seed: int) -> None:
        self._writer = writer
        self._random = np.random.default_rng(seed)

    def matrix(self, name: str, *shape: int, scale: float | None = None) -> None:
        """`shape` as numpy has it: rows of outputs first."""
        spread = scale if scale is not None else 1.5 / np.sqrt(np.prod(shape[1:]))
        self._writer.add_tensor(name, (self._random.standard_normal(shape) * spread).astype(np.float32))

    def norm(self, name: str, width: int = WIDTH, *, bias: bool = True) -> None:
        self._writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
        if bias:
            self._writer.add_tensor(f"{name}.bias", np.zeros(width, dtype=np.float32))

    def close(self) -> None:
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_tensors_to_file()
        self._writer.close()


def write_language_model(path: Path, kind: Kind = "llava", *, template: str = _CHATML, seed: int = 1) -> Path:
    """A decoder of two layers, in float32, whose vocabulary is letters and bytes."""
    mrope = kind == "qwen2vl"
    writer = gguf.GGUFWriter(path, "qwen2vl" if mrope else "llama")
    writer.add_name("tiny")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    if mrope:
        writer.add_rope_dimension_sections([2, 3, 3, 0])
    words = _add_vocabulary(writer)
    writer.add_chat_template(template)
    weights = _Weights(writer, seed)
    weights.matrix("token_embd.weight", words, WIDTH, scale=1.0)
    weights.matrix("output.weight", words, WIDTH)
    weights.norm("output_norm", bias=False)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        weights.norm(f"{block}.attn_norm", bias=False)
        weights.norm(f"{block}.ffn_norm", bias=False)
        for part in "qkv":
            weights.matrix(f"{block}.attn_{part}.weight", WIDTH, WIDTH)
            if mrope:
                weights.matrix(f"{block}.attn_{part}.bias", WIDTH, scale=0.1)
        weights.matrix(f"{block}.attn_output.weight", WIDTH, WIDTH)
        weights.matrix(f"{block}.ffn_gate.weight", 2 * WIDTH, WIDTH)
        weights.matrix(f"{block}.ffn_up.weight", 2 * WIDTH, WIDTH)
        weights.matrix(f"{block}.ffn_down.weight", WIDTH, 2 * WIDTH)
    weights.close()
    return path


def write_projector(path: Path, kind: Kind = "llava", *, seed: int = 2) -> Path:
    """The encoder that turns pictures (or sound) into what the language model of this kind reads."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_name(f"tiny {kind}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    weights = _Weights(writer, seed)
    if kind == "ultravox":
        _add_hearing(writer, weights)
    else:
        _add_seeing(writer, weights, kind)
    weights.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter) -> int:
    words = [*_CONTROL, *_BYTES, *_LETTERS, *_MARKS, *_TILES]
    kinds = gguf.TokenType
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    types += (
        [kinds.BYTE] * len(_BYTES) + [kinds.NORMAL] * len(_LETTERS) + [kinds.CONTROL] * len(_MARKS + _TILES)
    )
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    return len(words)


def _add_seeing(writer: gguf.GGUFWriter, weights: _Weights, kind: Kind) -> None:
    size = 16 if kind != "qwen2vl" else 64
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", {"llava": "mlp", "qwen2vl": "qwen2vl_merger"}.get(kind, kind))
    writer.add_uint32("clip.vision.image_size", size)
    writer.add_uint32("clip.vision.patch_size", _PATCH)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    if kind in ("gemma3", "idefics3"):
        writer.add_uint32("clip.vision.projector.scale_factor", 2)
    if kind == "idefics3":
        writer.add_uint32("clip.vision.preproc_image_size", 3 * size)
    _add_encoder(writer, weights, "vision", "v")
    weights.matrix("v.patch_embd.weight", WIDTH, 3, _PATCH, _PATCH)
    if kind == "qwen2vl":
        weights.matrix("v.patch_embd.weight.1", WIDTH, 3, _PATCH, _PATCH)
        weights.norm("v.post_ln")
        weights.matrix("mm.0.weight", 4 * WIDTH, 4 * WIDTH)
        weights.matrix("mm.0.bias", 4 * WIDTH, scale=0.1)
        weights.matrix("mm.2.weight", WIDTH, 4 * WIDTH)
        weights.matrix("mm.2.bias", WIDTH, scale=0.1)
        return
    weights.matrix("v.position_embd.weight", (size // _PATCH) ** 2, WIDTH, scale=0.5)
    weights.norm("v.post_ln")
    if kind == "gemma3":
        weights.matrix("mm.input_projection.weight", WIDTH, WIDTH)
        weights.norm("mm.soft_emb_norm", bias=False)
    elif kind == "idefics3":
        weights.matrix("mm.model.fc.weight", WIDTH, 4 * WIDTH)
    else:
        weights.matrix("mm.0.weight", WIDTH, WIDTH)
        weights.matrix("mm.0.bias", WIDTH, scale=0.1)
        weights.matrix("mm.2.weight", WIDTH, WIDTH)
        weights.matrix("mm.2.bias", WIDTH, scale=0.1)


def _add_hearing(writer: gguf.GGUFWriter, weights: _Weights) -> None:
    """Whisper's encoder, and Ultravox's projector behind it: 30 seconds are 375 tokens."""
    stack, bins = 4, 80
    writer.add_bool("clip.has_audio_encoder", True)
    writer.add_string("clip.projector_type", "ultravox")
    writer.add_uint32("clip.audio.num_mel_bins", bins)
    writer.add_uint32("clip.audio.projector.stack_factor", stack)
    _add_encoder(writer, weights, "audio", "a")
    weights.matrix("a.conv1d.1.weight", WIDTH, bins, 3)
    weights.matrix("a.conv1d.1.bias", WIDTH, 1, scale=0.1)
    weights.matrix("a.conv1d.2.weight", WIDTH, WIDTH, 3)
    weights.matrix("a.conv1d.2.bias", WIDTH, 1, scale=0.1)
    weights.matrix("a.position_embd.weight", 1500, WIDTH, scale=0.5)
    weights.norm("a.post_ln")
    weights.matrix("mm.a.mlp.1.weight", 2 * WIDTH, stack * WIDTH)
    weights.matrix("mm.a.mlp.2.weight", WIDTH, WIDTH)
    weights.norm("mm.a.norm_pre", stack * WIDTH, bias=False)
    weights.norm("mm.a.norm_mid", bias=False)


def _add_encoder(writer: gguf.GGUFWriter, weights: _Weights, modality: str, prefix: str) -> None:
    keys: dict[str, Any] = {
        "embedding_length": WIDTH,
        "feed_forward_length": 2 * WIDTH,
        "block_count": LAYERS,
        "projection_dim": WIDTH,
        "attention.head_count": HEADS,
    }
    for key, value in keys.items():
        writer.add_uint32(f"clip.{modality}.{key}", value)
    writer.add_float32(f"clip.{modality}.attention.layer_norm_epsilon", 1e-5)
    for layer in range(LAYERS):
        block = f"{prefix}.blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            weights.matrix(f"{block}.{part}.weight", WIDTH, WIDTH)
            if part != "attn_k" or modality == "vision":
                weights.matrix(f"{block}.{part}.bias", WIDTH, scale=0.1)
        weights.norm(f"{block}.ln1")
        weights.norm(f"{block}.ln2")
        weights.matrix(f"{block}.ffn_up.weight", 2 * WIDTH, WIDTH)
        weights.matrix(f"{block}.ffn_up.bias", 2 * WIDTH, scale=0.1)
        weights.matrix(f"{block}.ffn_down.weight", WIDTH, 2 * WIDTH)
        weights.matrix(f"{block}.ffn_down.bias", WIDTH, scale=0.1)
