"""What there is to place models on: GPUs by NVML, and the CPU's memory; and how much of it models may take.

Must not decide anything. A list in the configuration chooses among what is found, or replaces it. Calls may
take milliseconds: not to be made on the event loop.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from config.schema import Config, DeviceConfig
from gateway.engine.gpus import Gpu, Gpus
from gateway.engine.host_memory import HostMemory, host_memory
from gateway.engine.launcher.environment import visible_gpus
from gateway.engine.launcher.memory import GroupMemory
from gateway.engine.placement import Device


class DeviceState(Struct, frozen=True):
    """One device as it was seen last."""

    name: str
    title: str
    total_bytes: int
    """What it has; with a list in the configuration, what that says of it."""
    budget_bytes: int
    """What models may take of it now, all together."""
    others_bytes: int = 0
    """Held by other processes, the gateway itself among them."""
    utilisation: float | None = None
    """0 to 1; None: not told."""
    full_bytes: int = 0
    """What models might take if no other process held any; 0: as much as now."""

    @property
    def device(self) -> Device:
        return Device(self.name, self.budget_bytes, self.full_bytes)


class Holder(Struct, frozen=True):
    """A worker as the devices' memory is divided."""

    device_bytes: Mapping[str, int]
    """What is set aside for it, by device."""
    memory: GroupMemory


class Devices:
    """`look` again and again: other processes take memory and give it back."""

    def __init__(
        self, config: Config, gpus: Gpus | None = None, host: Callable[[], HostMemory] = host_memory
    ) -> None:
        self._settings = {device.name: device for device in config.devices}
        self._fraction = config.memory_fraction
        self.gpus = gpus or Gpus(visible_gpus())
        self._host = host

    def look(self, holders: Iterable[Holder] = ()) -> tuple[list[DeviceState], list[Gpu]]:
        """The devices, GPUs first, and what NVML says of each GPU. `holders`: our workers."""
        ours = list(holders)
        gpus = self.gpus.read()
        found = [*(_of_gpu(gpu, ours) for gpu in gpus), _of_cpu(self._host(), ours)]
        if not self._settings:
            return [self._bounded(state, DeviceConfig(name=state.name)) for state in found], gpus
        by_name = {state.name: state for state in found}
        return [
            self._bounded(by_name.get(name) or _made_up(settings), settings)
            for name, settings in self._settings.items()
        ], gpus

    def close(self) -> None:
        self.gpus.close()

    def _bounded(self, found: DeviceState, settings: DeviceConfig) -> DeviceState:
        """With what models may take: a share of it, and never what others hold or is to be kept free."""
        fraction = settings.memory_fraction or (1.0 if settings.memory_bytes else self._fraction)
        total = min(settings.memory_bytes or found.total_bytes, found.total_bytes)
        full = max(0, min(int(total * fraction), total - settings.reserve_bytes))
        free = found.total_bytes - found.others_bytes - settings.reserve_bytes
        return DeviceState(
            found.name,
            found.title,
            total,
            max(0, min(full, free)),
            found.others_bytes,
            found.utilisation,
            full,
        )


def worker_bytes(holder: Holder, gpus: Sequence[Gpu]) -> dict[str, int]:
    """What a worker is seen to hold on each of its devices; one where that cannot be seen is left out."""
    seen = {gpu.name: gpu.by_pid for gpu in gpus}
    held: dict[str, int] = {}
    for name in holder.device_bytes:
        if name == "cpu":
            held[name] = holder.memory.bytes
        elif pids := seen.get(name, {}).keys() & set(holder.memory.pids):
            held[name] = sum(seen[name][pid] for pid in pids)
    return held


def _of_gpu(gpu: Gpu, ours: Sequence[Holder]) -> DeviceState:
    mine = [holder for holder in ours if gpu.name in holder.device_bytes]
    # In a container NVML sees none of our processes: then what is set aside for them has to do.
    held = sum(worker_bytes(holder, [gpu]).get(gpu.name, holder.device_bytes[gpu.name]) for holder in mine)
    others = max(0, gpu.used_bytes - held)
    return DeviceState(gpu.name, gpu.title, gpu.total_bytes, gpu.total_bytes, others, gpu.utilisation)


def _of_cpu(host: HostMemory, ours: Sequence[Holder]) -> DeviceState:
    # Files that workers map are no use that could stand in anybody's way; available memory counts them too.
    held = sum(holder.memory.kept_bytes for holder in ours if "cpu" in holder.device_bytes)
    others = max(0, host.total_bytes - host.available_bytes - held)
    return DeviceState("cpu", "CPU", host.total_bytes, host.total_bytes, others)


def _made_up(settings: DeviceConfig) -> DeviceState:
    """A device that is in the configuration and was not found: there is only its word for it."""
    size = settings.memory_bytes or 0
    return DeviceState(settings.name, "not found here", size, size)
