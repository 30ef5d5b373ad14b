"""NVML without a GPU: what pynvml would say of cards that a test makes up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class FakeCard:
    total: int
    used: int = 0
    by_pid: Mapping[int, int | None] = field(default_factory=dict)
    utilisation: int | None = 0


class FakeNvml:
    class NVMLError(Exception):
        pass

    def __init__(self, *cards: FakeCard, driver: bool = True) -> None:
        self.cards = cards
        self.driver = driver
        self.broken = False
        self.shut_down = False

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("no driver")

    def nvmlShutdown(self) -> None:
        self.shut_down = True

    def nvmlDeviceGetCount(self) -> int:
        if self.broken:
            raise self.NVMLError("lost")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}abc"

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return f"Fake {handle}".encode()

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=self.cards[handle].total, used=self.cards[handle].used)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if self.cards[handle].utilisation is None:
            raise self.NVMLError("not supported")
        return SimpleNamespace(gpu=self.cards[handle].utilisation)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        by_pid = self.cards[handle].by_pid
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in by_pid.items()]
