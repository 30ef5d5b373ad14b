"""LoRA adapters of a model: loaded once, and switched on in a context as a request asks.

Owns the adapters' handles. A context has one set of them at a time, so sequences with other sets must not
share a decode, nor what the cache holds of a prefix: `key` says which may. Must not know jobs.
"""

import ctypes
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from backends.llama_cpp.library import C, complaints
from backends.llama_cpp.model import Model, open_model
from config.parameters import LoraAdapter

_CHUNK_BYTES = 4 * 1024 * 1024


class LoraSets(Protocol):
    """Adapters as an engine sees them: for its own context."""

    def key(self, asked: Mapping[str, float]) -> str: ...
    def use(self, asked: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class Adapters:
    """Raises ValueError, with the adapter's name and what is wrong, if one does not fit the model.

    `files` have paths as their sources. To be closed after the contexts and before the model.
    """

    def __init__(self, model: Model, files: Sequence[LoraAdapter]) -> None:
        self._loaded: dict[str, _Loaded] = {}
        self._context: Any = None
        self._applied: list[tuple[str, float]] = []
        try:
            for file in files:
                self._loaded[file.name] = _load(model, file)
        except ValueError:
            self.close()
            raise

    @property
    def names(self) -> list[str]:
        return list(self._loaded)

    def key(self, asked: Mapping[str, float]) -> str:
        """Equal for equal effects, over restarts too; empty where nothing is changed. Raises ValueError."""
        return ",".join(f"{name}={scale!r}@{self._loaded[name].digest}" for name, scale in self._set(asked))

    def apply(self, context: Any, asked: Mapping[str, float]) -> None:
        """Let decodes in `context` (a handle) be made with these adapters and no others. Raises ValueError.

        Costs nothing where that is so already.
        """
        wanted = self._set(asked)
        if context is not self._context:
            self._context, self._applied = context, []
        if wanted == self._applied:
            return
        handles = [self._loaded[name].handle for name, _ in wanted]
        result = C.llama_set_adapters_lora(
            context,
            (C.llama_adapter_lora_p_ctypes * len(wanted))(*handles),
            len(wanted),
            (ctypes.c_float * len(wanted))(*(scale for _, scale in wanted)),
        )
        if result != 0:
            raise RuntimeError(f"llama.cpp cannot apply adapters ({result})")
        self._applied = wanted

    def close(self) -> None:
        for loaded in self._loaded.values():
            C.llama_adapter_lora_free(loaded.handle)
        self._loaded.clear()
        self._context, self._applied = None, []

    def _set(self, asked: Mapping[str, float]) -> list[tuple[str, float]]:
        """Names and final scales of those that change anything."""
        for name in asked:
            if name not in self._loaded:
                raise ValueError(f"there is no adapter {name!r}; there are: {', '.join(self._loaded)}")
        scales = {name: scale * self._loaded[name].factor for name, scale in asked.items()}
        return sorted((name, scale) for name, scale in scales.items() if scale)


class _Loaded(Struct):
    handle: Any
    factor: float
    digest: str


def check_adapters(path: Path, files: Sequence[LoraAdapter]) -> None:
    """Raises ValueError where one does not fit the model at `path`, whose weights are not loaded for it."""
    if not files:
        return
    model = open_model(path, no_alloc=True, load_mode=C.LLAMA_LOAD_MODE_NONE)
    try:
        Adapters(model, files).close()
    finally:
        model.close()


def memory_bytes(files: Sequence[LoraAdapter]) -> int:
    """About what they take once loaded."""
    return sum(Path(file.source).stat().st_size for file in files)


def _load(model: Model, file: LoraAdapter) -> _Loaded:
    path = Path(file.source)
    if not path.is_file():
        raise ValueError(f"adapter {file.name}: {path} is no file")
    with complaints() as said:
        handle = C.llama_adapter_lora_init(model.handle, str(path).encode())
    if not handle:
        reason = said[-1].rpartition("adapter: ")[2] if said else "llama.cpp's log says why"
        raise ValueError(f"adapter {file.name}: {path.name} does not fit: {reason}")
    if C.llama_adapter_get_alora_n_invocation_tokens(handle):
        C.llama_adapter_lora_free(handle)
        raise ValueError(f"adapter {file.name}: it is an activated LoRA, which is not supported")
    return _Loaded(handle, file.scale, _digest(path))


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
