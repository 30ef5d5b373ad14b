"""What there is to place models on: the CPU's memory as the cgroup allows, and GPUs by NVML.

Must not decide anything. A list in the configuration replaces what is found.
"""

from pathlib import Path

import psutil

from config.schema import Config
from gateway.engine.placement import Device

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def find_devices(config: Config) -> list[Device]:
    """Devices with the share of their memory that models may take, GPUs first."""
    if config.devices:
        return [Device(device.name, device.memory_bytes) for device in config.devices]
    fraction = config.memory_fraction
    cpu = Device("cpu", int(_cpu_memory_bytes() * fraction))
    return [*(Device(name, int(size * fraction)) for name, size in _gpus()), cpu]


def _cpu_memory_bytes() -> int:
    limits = [psutil.virtual_memory().total]
    for path in _CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def _gpus() -> list[tuple[str, int]]:
    """CUDA device names and bytes of memory; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [(f"cuda:{i}", pynvml.nvmlDeviceGetMemoryInfo(h).total) for i, h in enumerate(handles)]
    finally:
        pynvml.nvmlShutdown()
