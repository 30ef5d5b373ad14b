"""How large a model is: its context, its cache and its memory, from the file's metadata.

Pure but for asking the system for file sizes and its memory. The worker and the prepare helper must come to
the same answer, so nothing here may depend on what happens to be free.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from config.parameters import LlamaCppParameters
from config.schema import ModelSpec

_BYTES_PER_VALUE = {"auto": 2.0, "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
_CONTEXT_UNIT = 256
"""llama.cpp rounds a context up to this."""
_SMALLEST_CONTEXT = 512
_MEMORY_SHARE = 0.6
"""Of the machine's memory, what the file and an `auto` cache together may take."""
COMPUTE_BYTES = 64 * 1024 * 1024
"""Room for llama.cpp's own buffers, beside the logits of a batch."""


class Sizes(Struct, frozen=True):
    n_ctx: int
    """Cells of the cache, of all sequences together."""
    context_length: int
    """Most tokens of one sequence."""
    memory_bytes: int
    partitioned: bool = False
    """Each sequence has cells of its own, as many as the others."""

    @staticmethod
    def of(
        path: Path, metadata: Mapping[str, str], spec: ModelSpec, parameters: LlamaCppParameters
    ) -> "Sizes":
        """Raises ValueError if the file does not say how long its context is, or for settings at odds."""
        trained = int(architecture_value(metadata, "context_length") or 0)
        if trained <= 0:
            raise ValueError(f"{path.name} states no context length: it is no language model")
        files = file_bytes(path)
        cell = cell_bytes(metadata, parameters)
        partitioned = is_partitioned(parameters, trained)
        shares = parameters.n_seq_max if partitioned else 1
        if parameters.n_ctx == "auto":
            room = (spec.memory_bytes or int(_system_memory() * _MEMORY_SHARE)) - files
            fitting = int(room / cell) if cell else trained * shares
            n_ctx = min(trained * shares, max(fitting, _SMALLEST_CONTEXT * shares))
        else:
            n_ctx = parameters.n_ctx
        share = -(-(n_ctx // shares) // _CONTEXT_UNIT) * _CONTEXT_UNIT
        n_ctx = share * shares
        states = parameters.prefix_host_bytes if saves_states(parameters) else 0
        memory = spec.memory_bytes or int(files + n_ctx * cell + COMPUTE_BYTES + states)
        return Sizes(n_ctx, min(share, trained), memory, partitioned)


def is_partitioned(parameters: LlamaCppParameters, trained: int) -> bool:
    """Whether each sequence has cells of its own: where asked for, or where nobody loses by it."""
    if parameters.reproducible:
        if parameters.kv_unified is True:
            raise ValueError("parameters.kv_unified: true and reproducible: true exclude each other")
        return True
    if parameters.kv_unified != "auto":
        return not parameters.kv_unified
    shared = parameters.prefix_cache or parameters.speculation != "off" or parameters.draft_model is not None
    return not shared and parameters.n_ctx != "auto" and parameters.n_ctx >= parameters.n_seq_max * trained


def shares_prefixes(parameters: LlamaCppParameters) -> bool:
    return parameters.prefix_cache and not parameters.reproducible and parameters.prefix_kept > 0


def saves_states(parameters: LlamaCppParameters) -> bool:
    return shares_prefixes(parameters) and parameters.prefix_host_bytes > 0


def architecture_value(metadata: Mapping[str, str], name: str) -> str | None:
    """A value of the model's own architecture, e.g. `llama.context_length`."""
    return metadata.get(f"{metadata.get('general.architecture', '')}.{name}")


def cell_bytes(metadata: Mapping[str, str], parameters: LlamaCppParameters) -> float:
    """Bytes of one token in the cache: keys and values of every layer."""

    def number(name: str, default: int) -> int:
        value = architecture_value(metadata, name)
        return int(value) if value is not None and value.isdigit() else default

    heads = number("attention.head_count", 1)
    kv_heads = number("attention.head_count_kv", heads)
    head_width = number("embedding_length", 0) // max(heads, 1)
    keys = number("attention.key_length", head_width) * _BYTES_PER_VALUE[parameters.type_k]
    values = number("attention.value_length", head_width) * _BYTES_PER_VALUE[parameters.type_v]
    return number("block_count", 0) * kv_heads * (keys + values)


def file_bytes(path: Path) -> int:
    """Size of the weights, of all parts where the file is split."""
    match = re.fullmatch(r"(.*)-00001-of-(\d{5})\.gguf", path.name)
    if match is None:
        return path.stat().st_size
    return sum(part.stat().st_size for part in path.parent.glob(f"{match[1]}-*-of-{match[2]}.gguf"))


def _system_memory() -> int:
    """Memory of the machine or of this container, bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return total  # no cgroup, or no limit ("max")
