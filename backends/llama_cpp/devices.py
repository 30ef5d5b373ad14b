"""Which devices this build of llama.cpp can use, and how many layers go to a GPU."""

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from backends.llama_cpp.library import C, ggml_device
from backends.protocol import DeviceShare
from config.parameters import GgufParameters
from config.schema import ModelSpec


def device_kinds(parameters: GgufParameters) -> list[str]:
    """Kinds of device that placement may choose from, best first."""
    return ["cuda", "cpu"] if _has_cuda() and parameters.n_gpu_layers != 0 else ["cpu"]


def gpu_layers(spec: ModelSpec, parameters: GgufParameters, device: str) -> int:
    """Layers for the GPU; -1: all.

    Placement counts CUDA devices only, so `cpu` on a CUDA build means the CPU. On a Metal or Vulkan build it
    means the machine, GPU included, unless the model is pinned to the CPU.
    """
    if parameters.n_gpu_layers != "auto":
        return parameters.n_gpu_layers
    if device != "cpu":
        return -1
    return -1 if C.llama_supports_gpu_offload() and not _has_cuda() and spec.device != "cpu" else 0


def can_split(parameters: GgufParameters) -> bool:
    """Whether layers may lie on several GPUs: not where some are to stay on the CPU."""
    return _has_cuda() and parameters.n_gpu_layers in ("auto", -1)


def spread_settings(
    spread: Sequence[DeviceShare], find: Callable[[str], int | None] = ggml_device
) -> dict[str, Any]:
    """Fields of llama_model_params that divide a model by layers; none for a whole one.

    Raises ValueError for a device that llama.cpp does not have. Format: llama.h: `devices` ends with NULL,
    and `tensor_split` counts these alone.
    """
    if not spread:
        return {}
    handles = [find(f"CUDA{share.device.partition(':')[2]}") for share in spread]
    if missing := [share.device for share, handle in zip(spread, handles, strict=True) if handle is None]:
        raise ValueError(f"llama.cpp has no device {missing[0]}")
    devices = (ctypes.c_void_p * (len(handles) + 1))(*handles, None)
    split = (ctypes.c_float * max(int(C.llama_max_devices()), len(spread)))(
        *(share.share for share in spread)
    )
    return {
        "devices": ctypes.cast(devices, ctypes.c_void_p),
        "tensor_split": split,
        "split_mode": C.LLAMA_SPLIT_MODE_LAYER,
        "main_gpu": 0,
    }


class Device(Struct, frozen=True):
    """Where a projector computes."""

    gpu: bool = False
    handle: Any = None
    """ggml's, of that GPU; None: the first."""


def projector_device(spec: ModelSpec, parameters: GgufParameters, device: str) -> Device:
    """The same device as the model's own, if any of its layers are there."""
    if gpu_layers(spec, parameters, device) == 0:
        return Device()
    _, _, index = device.partition(":")
    return Device(True, ggml_device(f"CUDA{index}") if index.isdigit() else None)


def _has_cuda() -> bool:
    return bool(C.llama_supports_gpu_offload()) and b"CUDA" in C.llama_print_system_info()
