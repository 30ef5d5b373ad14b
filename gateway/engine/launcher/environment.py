"""The environment that a child gets: ours, and what its backend's settings add."""

import os
from collections.abc import Mapping

# Threads of GNU OpenMP (llama.cpp's and torch's) spin at every barrier, for up to a millisecond by default,
# while the thread that they wait for may be waiting for their core: with any neighbour on the machine a
# decode step of 9 ms took over 300 ms here. With this count it took 54 ms, and alone it was no slower.
_SPIN_COUNT = "2000"
_SPIN_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """`extra` goes over ours; a spin setting of the user's is left alone."""
    environment = {**os.environ, **extra}
    # Placement counts GPUs as NVML does, by their bus; CUDA would put the fastest first.
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    if not any(name in environment for name in _SPIN_SETTINGS):
        environment["GOMP_SPINCOUNT"] = _SPIN_COUNT
    return environment


def visible_gpus() -> str | None:
    """Which GPUs CUDA shows to a child, as CUDA_VISIBLE_DEVICES says it; None: all."""
    return os.environ.get("CUDA_VISIBLE_DEVICES")
