"""Writes small LoRA adapters as GGUF, right ones and wrong ones."""

from pathlib import Path

import gguf
import numpy as np

TENSOR = "blk.0.attn_q.weight"
WIDTH = 576
"""Of the starter model: this tensor takes so many values and gives as many."""
RANK = 4


def write_lora(
    path: Path,
    *,
    seed: int = 0,
    tensor: str = TENSOR,
    width: int = WIDTH,
    architecture: str = "llama",
    kind: str = "lora",
    invocation: list[int] | None = None,
) -> Path:
    """An adapter of random weights for one tensor."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", 2.0 * RANK)
    if invocation is not None:
        kind_of = gguf.GGUFValueType
        writer.add_key_value(
            "adapter.alora.invocation_tokens", invocation, kind_of.ARRAY, sub_type=kind_of.UINT32
        )
    random = np.random.default_rng(seed)
    writer.add_tensor(f"{tensor}.lora_a", random.normal(0, 0.2, (RANK, WIDTH)).astype(np.float32))
    writer.add_tensor(f"{tensor}.lora_b", random.normal(0, 0.2, (width, RANK)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
