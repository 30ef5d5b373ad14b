"""Loads the weights and makes the engine: device, context size and threads are decided here."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backends.base import OutOfMemory
from backends.chat.answer import AnswerFormat
from backends.cores import usable_cores
from backends.llama_cpp.adapters import Adapters
from backends.llama_cpp.cache import Cache
from backends.llama_cpp.devices import gpu_layers, projector_device, spread_settings
from backends.llama_cpp.draft_model import ModelDrafter
from backends.llama_cpp.drafting import LookupDrafter
from backends.llama_cpp.encoder import Encoder
from backends.llama_cpp.engine import LlamaEngine
from backends.llama_cpp.guide import Guide, GuideMaker
from backends.llama_cpp.library import C
from backends.llama_cpp.model import Context, Model, Vocabulary, open_model
from backends.llama_cpp.progress import progress_callback
from backends.llama_cpp.projector import Projector
from backends.llama_cpp.sampling import check_defaults
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.sizes import Sizes, saves_states, shares_prefixes
from backends.llama_cpp.speculation import SpeculationPolicy
from backends.llama_cpp.speculator import Speculator
from backends.protocol import DeviceShare
from config.parameters import GgufParameters, LlamaCppParameters
from config.schema import ModelSpec

_CACHE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
"""ggml's numbers; the bindings do not name them all."""
FLASH_ATTENTION = {"auto": -1, False: 0, True: 1}
_MOST_IDS = 256
"""llama.cpp knows no more sequence ids."""
_LOAD_MODES = {
    (False, False): "NONE",
    (True, False): "MMAP",
    (False, True): "MLOCK",
    (True, True): "MMAP_MLOCK",
}


def load_engine(
    spec: ModelSpec,
    parameters: LlamaCppParameters,
    path: Path,
    device: str,
    projector: Path | None = None,
    *,
    spread: Sequence[DeviceShare] = (),
    report: Callable[[float], None] = lambda fraction: None,
) -> LlamaEngine:
    """Raises ValueError for files that are no usable model, OutOfMemory where they do not fit.

    `spread`: see Backend. `report` hears how much of the file is read, 0 to 1.
    """
    check_defaults(spec.defaults)
    progress = progress_callback(report)
    settings = model_settings(spec, parameters, device) | spread_settings(spread)
    model = open_model(path, **settings, progress_callback=progress)
    if C.llama_model_has_encoder(model.handle) or not C.llama_model_has_decoder(model.handle):
        model.close()
        raise ValueError(f"{spec.name}: only decoder-only models are served")
    sizes = Sizes.of(path, model.metadata(), spec, parameters)
    try:
        context = Context(model, context_params(sizes, parameters, spec, device))
    except MemoryError as error:
        model.close()
        raise OutOfMemory(f"{spec.name}: no room for a context of {sizes.n_ctx} tokens") from error
    context_length = min(sizes.context_length, context.n_ctx_seq)
    reader = None
    if projector is not None:
        reader = Encoder(
            _open_projector(projector, context, parameters, spec, device),
            context_length=context_length,
            whole_tokens=int(C.llama_n_ubatch(context.handle)),
            cache_bytes=parameters.media_cache_bytes,
        )
    return LlamaEngine(
        model,
        context,
        _cache(model, context, parameters, path, partitioned=sizes.partitioned),
        sequences=parameters.n_seq_max,
        defaults=spec.defaults,
        context_length=context_length,
        max_step_s=parameters.max_step_ms / 1000,
        apart=int(C.llama_n_ubatch(context.handle)) if parameters.reproducible else 0,
        guides=LaterGuides(model.vocabulary),
        adapters=ContextAdapters(Adapters(model, parameters.adapters), context.handle),
        speculator=_speculator(model, parameters, spec, device),
        reader=reader,
    )


def _open_projector(
    path: Path, context: Context, parameters: LlamaCppParameters, spec: ModelSpec, device: str
) -> Projector:
    return Projector(
        path,
        context.model,
        device=projector_device(spec, parameters, device),
        threads=int(C.llama_n_threads_batch(context.handle)),
        max_tokens=parameters.image_max_tokens or 0,
    )


class ContextAdapters:
    """A model's adapters, for one context."""

    def __init__(self, adapters: Adapters, context: Any) -> None:
        self._adapters = adapters
        self._context = context

    def key(self, asked: Mapping[str, float]) -> str:
        return self._adapters.key(asked)

    def use(self, asked: Mapping[str, float]) -> None:
        self._adapters.apply(self._context, asked)

    def close(self) -> None:
        self._adapters.close()


class LaterGuides:
    """A GuideMaker that is made while the first requests are served: it takes part of a second."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        pool = ThreadPoolExecutor(1, "guides")
        self._maker = pool.submit(GuideMaker, vocabulary)
        pool.shutdown(wait=False)

    def guide(self, grammar: str, triggers: Sequence[str], format: AnswerFormat) -> Guide:
        return self._maker.result().guide(grammar, triggers, format)

    def close(self) -> None:
        """To be called before the vocabulary's model is closed."""
        self._maker.exception()


def _cache(
    model: Model, context: Context, parameters: LlamaCppParameters, path: Path, *, partitioned: bool
) -> Cache:
    stateful = _is_stateful(model)
    saved = None
    if saves_states(parameters) and not stateful:
        saved = SavedStates(
            host_bytes=parameters.prefix_host_bytes,
            disk=Path(parameters.prefix_disk) if parameters.prefix_disk else None,
            disk_bytes=parameters.prefix_disk_bytes,
            fingerprint=_fingerprint(path, parameters, parts=context.n_seq_max if partitioned else 1),
        )
    return Cache(
        context,
        size=context.n_ctx,
        sequences=parameters.n_seq_max,
        kept=context.n_seq_max - parameters.n_seq_max if not stateful else 0,
        partitioned=partitioned,
        copies=partitioned and shares_prefixes(parameters) and not stateful,
        saved=saved,
    )


def _is_stateful(model: Model) -> bool:
    """One state a sequence, not one a token: there is no beginning to share and no way back."""
    return bool(C.llama_model_is_recurrent(model.handle) or C.llama_model_is_hybrid(model.handle))


def _fingerprint(path: Path, parameters: LlamaCppParameters, *, parts: int) -> str:
    """Changes with everything that a saved state depends on; `parts`: of the cache."""
    file = path.stat()
    settings = (parameters.type_k, parameters.type_v, parameters.flash_attn, parameters.n_gpu_layers, parts)
    return repr((path.name, file.st_size, file.st_mtime_ns, settings, version("llama-cpp-python")))


def _speculator(
    model: Model, parameters: LlamaCppParameters, spec: ModelSpec, device: str
) -> Speculator | None:
    if parameters.reproducible or _is_stateful(model):
        return None
    if parameters.draft_model is not None:
        drafter = _draft_model(model, Path(parameters.draft_model.source), parameters, spec, device)
        return Speculator(drafter, SpeculationPolicy())
    if parameters.speculation == "lookup":
        return Speculator(LookupDrafter(), SpeculationPolicy())
    return None


def _draft_model(
    target: Model, path: Path, parameters: LlamaCppParameters, spec: ModelSpec, device: str
) -> ModelDrafter:
    draft = open_model(path, **model_settings(spec, parameters, device))
    sizes = Sizes.of(path, draft.metadata(), spec, parameters)
    params = context_params(sizes, parameters, spec, device)
    params.n_seq_max = parameters.n_seq_max
    params.kv_unified = True
    try:
        context = Context(draft, params)
    except MemoryError as error:
        draft.close()
        raise OutOfMemory(f"{spec.name}: no room for its draft model") from error
    return ModelDrafter(draft, context, target.vocabulary, context_length=sizes.context_length)


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
    """A llama_context_params: one cache that all sequences share, or one in equal parts."""
    params = C.llama_context_default_params()
    threads = usable_cores() if parameters.n_threads == "auto" else parameters.n_threads
    batch_threads = threads if parameters.n_threads_batch == "auto" else parameters.n_threads_batch
    params.n_ctx = sizes.n_ctx
    # Every running sequence decodes one token in each step, so a batch must hold them all.
    params.n_batch = max(min(parameters.n_batch, sizes.n_ctx), parameters.n_seq_max)
    params.n_ubatch = min(parameters.n_ubatch, params.n_batch)
    kept = min(parameters.prefix_kept, _MOST_IDS - parameters.n_seq_max)
    stay = shares_prefixes(parameters) and not sizes.partitioned
    params.n_seq_max = parameters.n_seq_max + (kept if stay else 0)
    params.n_threads = threads
    params.n_threads_batch = batch_threads
    flash_attention = parameters.flash_attn if not parameters.reproducible else False
    params.flash_attn_type = FLASH_ATTENTION[flash_attention]
    on_gpu = gpu_layers(spec, parameters, device) != 0
    # ggml's CPU flash attention computes a cache of one type by tiles, and so sums in another order for each
    # company; with two types it goes cell by cell, and an answer does not depend on its neighbours. Values as
    # bf16 are summed in single precision: nearer to the truth than ggml's sums in halves, and decoding behind
    # a long context takes six tenths of the time. Prefill takes up to half as long again.
    best_v = "f16" if on_gpu or flash_attention is False else "bf16"
    params.type_k = _CACHE_TYPES["f16" if parameters.type_k == "auto" else parameters.type_k]
    params.type_v = _CACHE_TYPES[best_v if parameters.type_v == "auto" else parameters.type_v]
    params.offload_kqv = params.op_offload = on_gpu
    params.kv_unified = not sizes.partitioned
    params.no_perf = True
    return params
