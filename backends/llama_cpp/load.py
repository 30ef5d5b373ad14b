"""Loads the weights and makes the engine: device, context size and threads are decided here."""

import math
import os
from pathlib import Path
from typing import Any

from backends.base import OutOfMemory
from backends.llama_cpp.devices import gpu_layers
from backends.llama_cpp.engine import LlamaEngine
from backends.llama_cpp.library import C
from backends.llama_cpp.model import Context, open_model
from backends.llama_cpp.sampling import check_defaults
from backends.llama_cpp.sizes import Sizes
from config.schema import GgufParameters, LlamaCppParameters, ModelSpec

_CACHE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
"""ggml's numbers; the bindings do not name them all."""
FLASH_ATTENTION = {"auto": -1, False: 0, True: 1}
_LOAD_MODES = {
    (False, False): "NONE",
    (True, False): "MMAP",
    (False, True): "MLOCK",
    (True, True): "MMAP_MLOCK",
}


def load_engine(spec: ModelSpec, parameters: LlamaCppParameters, path: Path, device: str) -> LlamaEngine:
    """Raises ValueError for files that are no usable model, OutOfMemory where they do not fit."""
    check_defaults(spec.defaults)
    model = open_model(path, **model_settings(spec, parameters, device))
    if C.llama_model_has_encoder(model.handle) or not C.llama_model_has_decoder(model.handle):
        model.close()
        raise ValueError(f"{spec.name}: only decoder-only models are served")
    sizes = Sizes.of(path, model.metadata(), spec, parameters)
    try:
        context = Context(model, context_params(sizes, parameters, spec, device))
    except MemoryError as error:
        model.close()
        raise OutOfMemory(f"{spec.name}: no room for a context of {sizes.n_ctx} tokens") from error
    return LlamaEngine(
        model,
        context,
        defaults=spec.defaults,
        context_length=sizes.context_length,
        max_step_s=parameters.max_step_ms / 1000,
    )


def model_settings(spec: ModelSpec, parameters: GgufParameters, device: str) -> dict[str, Any]:
    """Fields of llama_model_params."""
    mode = _LOAD_MODES[(parameters.use_mmap and bool(C.llama_supports_mmap()), parameters.use_mlock)]
    settings: dict[str, Any] = {
        "n_gpu_layers": gpu_layers(spec, parameters, device),
        "load_mode": getattr(C, f"LLAMA_LOAD_MODE_{mode}"),
    }
    name, _, index = device.partition(":")
    if name != "cpu" and index.isdigit():
        # One device is one budget of placement's, so the model must not spread over the others.
        settings |= {"split_mode": C.LLAMA_SPLIT_MODE_NONE, "main_gpu": int(index)}
    return settings


def context_params(sizes: Sizes, parameters: LlamaCppParameters, spec: ModelSpec, device: str) -> Any:
    """A llama_context_params: one cache that all sequences share."""
    params = C.llama_context_default_params()
    threads = usable_cores() if parameters.n_threads == "auto" else parameters.n_threads
    batch_threads = threads if parameters.n_threads_batch == "auto" else parameters.n_threads_batch
    params.n_ctx = sizes.n_ctx
    # Every running sequence decodes one token in each step, so a batch must hold them all.
    params.n_batch = max(min(parameters.n_batch, sizes.n_ctx), parameters.n_seq_max)
    params.n_ubatch = min(parameters.n_ubatch, params.n_batch)
    params.n_seq_max = parameters.n_seq_max
    params.n_threads = threads
    params.n_threads_batch = batch_threads
    params.flash_attn_type = FLASH_ATTENTION[parameters.flash_attn]
    on_gpu = gpu_layers(spec, parameters, device) != 0
    # ggml's CPU flash attention computes a cache of one type by tiles, and so sums in another order for each
    # company; with two types it goes cell by cell, and an answer does not depend on its neighbours.
    # Decoding is as fast, prefill 10 to 25 % slower.
    best_k = "f16" if on_gpu or parameters.flash_attn is False else "bf16"
    params.type_k = _CACHE_TYPES[best_k if parameters.type_k == "auto" else parameters.type_k]
    params.type_v = _CACHE_TYPES["f16" if parameters.type_v == "auto" else parameters.type_v]
    params.offload_kqv = params.op_offload = on_gpu
    params.kv_unified = True
    params.no_perf = True
    return params


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the quota of its cgroup."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = len(affinity)
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no cgroup, or no quota ("max")
    return max(cores, 1)
