"""Prometheus metrics of memory: what devices have, what models are predicted and seen to hold, who had to go.

Read when asked for. Names of devices and registered models are the only labels.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class DeviceMemory(Struct, frozen=True):
    device: str
    total_bytes: int
    budget_bytes: int
    reserved_bytes: int
    """Set aside for models, whether they hold it yet or not."""
    used_bytes: int
    """Seen to be held by models."""
    others_bytes: int
    utilisation: float | None


class ModelMemory(Struct, frozen=True):
    model: str
    predicted_bytes: int
    """Of one worker; 0: not known yet."""
    measured_bytes: int
    """Of all its workers, host memory of those on GPUs among it."""
    swaps: int
    evictions: int


class MemoryFigures(Struct, frozen=True):
    devices: list[DeviceMemory]
    models: list[ModelMemory]
    unreturned: int
    """Ended workers whose memory was waited for in vain."""


class MemoryCollector(Collector):
    def __init__(self, figures: Callable[[], MemoryFigures]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        figures = self._figures()
        unreturned = CounterMetricFamily(
            "llm_cortex_memory_unreturned", "Ended workers whose memory did not come back in time"
        )
        unreturned.add_metric([], figures.unreturned)
        return [*_of_devices(figures.devices), *_of_models(figures.models), unreturned]


def _of_devices(devices: list[DeviceMemory]) -> list[Metric]:
    def gauge(name: str, text: str, value: Callable[[DeviceMemory], float | None]) -> Metric:
        family = GaugeMetricFamily(f"llm_cortex_device_{name}", text, labels=["device"])
        for device in devices:
            shown = value(device)
            if shown is not None:
                family.add_metric([device.device], shown)
        return family

    return [
        gauge("memory_total_bytes", "What the device has", lambda d: d.total_bytes),
        gauge("memory_budget_bytes", "What models may take of it now", lambda d: d.budget_bytes),
        gauge("memory_reserved_bytes", "What is set aside for models", lambda d: d.reserved_bytes),
        gauge("memory_used_bytes", "What models were seen to hold", lambda d: d.used_bytes),
        gauge("memory_others_bytes", "What other processes hold", lambda d: d.others_bytes),
        gauge("utilisation", "Share of the time in which it computes, 0 to 1", lambda d: d.utilisation),
    ]


def _of_models(models: list[ModelMemory]) -> list[Metric]:
    def add(family: Metric, value: Callable[[ModelMemory], int]) -> Metric:
        for model in models:
            family.add_metric([model.model], value(model))  # type: ignore[attr-defined]
        return family

    def gauge(name: str, text: str) -> Metric:
        return GaugeMetricFamily(f"llm_cortex_model_{name}", text, labels=["model"])

    def counter(name: str, text: str) -> Metric:
        return CounterMetricFamily(f"llm_cortex_model_{name}", text, labels=["model"])

    return [
        add(
            gauge("memory_predicted_bytes", "What one worker is thought to need"), lambda m: m.predicted_bytes
        ),
        add(gauge("memory_measured_bytes", "What its workers hold (PSS, NVML)"), lambda m: m.measured_bytes),
        add(counter("turns", "Loads for which other models had to leave"), lambda m: m.swaps),
        add(counter("evictions", "Workers that had to leave for other models"), lambda m: m.evictions),
    ]
