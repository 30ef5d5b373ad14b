"""What NVML says of the NVIDIA GPUs: memory, who uses it, and how busy they are.

Owns the library's session. Calls may take milliseconds: not to be made on the event loop.
"""

from typing import Any

import structlog
from msgspec import Struct

log = structlog.get_logger(__name__)


class Gpu(Struct, frozen=True):
    name: str
    """As CUDA numbers it: `cuda:0` …"""
    title: str
    """What the maker calls it."""
    total_bytes: int
    used_bytes: int
    """By everybody."""
    utilisation: float | None
    """Share of the last moments in which it computed, 0 to 1; None: not told."""
    by_pid: dict[int, int]
    """Bytes by process, of those that NVML sees; in a container it may see none of ours."""


class Gpus:
    """The GPUs that this process may use, in CUDA's order by bus (CUDA_DEVICE_ORDER=PCI_BUS_ID)."""

    def __init__(self, visible: str | None = None, nvml: Any = None) -> None:
        """`visible`: CUDA_VISIBLE_DEVICES; `nvml`: another library than pynvml."""
        if nvml is None:
            import pynvml

            nvml = pynvml
        self._nvml = nvml
        self._visible = visible
        self._open = False
        self.last: list[Gpu] = []
        """As they were read last."""

    def read(self) -> list[Gpu]:
        """Empty without a driver. Where the driver fails later, what it said last."""
        try:
            if not self._open:
                self._nvml.nvmlInit()
                self._open = True
        except self._nvml.NVMLError:
            return []
        try:
            self.last = [self._gpu(index, handle) for index, handle in enumerate(self._handles())]
        except self._nvml.NVMLError as error:
            log.warning("the GPUs' driver does not answer", reason=str(error))
        return self.last

    def close(self) -> None:
        if self._open:
            self._open = False
            self._nvml.nvmlShutdown()

    def _handles(self) -> list[Any]:
        handles = [
            self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(self._nvml.nvmlDeviceGetCount())
        ]
        if self._visible is None:
            return handles
        chosen = []
        for entry in self._visible.split(","):
            found = [handle for index, handle in enumerate(handles) if self._is(entry.strip(), index, handle)]
            if not found:
                break  # CUDA sees nothing from the first invalid entry on
            chosen.append(found[0])
        return chosen

    def _is(self, entry: str, index: int, handle: Any) -> bool:
        if entry.isdigit():
            return int(entry) == index
        return bool(entry) and _text(self._nvml.nvmlDeviceGetUUID(handle)).startswith(entry)

    def _gpu(self, index: int, handle: Any) -> Gpu:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return Gpu(
            f"cuda:{index}",
            _text(self._nvml.nvmlDeviceGetName(handle)),
            int(memory.total),
            int(memory.used),
            self._utilisation(handle),
            self._processes(handle),
        )

    def _utilisation(self, handle: Any) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
        except self._nvml.NVMLError:  # old cards and MIG parts do not tell
            return None

    def _processes(self, handle: Any) -> dict[int, int]:
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError:
            return {}
        return {int(p.pid): int(p.usedGpuMemory) for p in processes if p.usedGpuMemory is not None}


def _text(value: str | bytes) -> str:
    """Older versions of the library give bytes."""
    return value.decode() if isinstance(value, bytes) else value
