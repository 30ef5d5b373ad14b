"""A scheduler on a clock of our own, and short words for what happens to it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from backends.protocol import (
    Capacity,
    Description,
    Frame,
    GenerateParameters,
    GenerationResult,
    Job,
    Output,
    Text,
)
from config.schema import LimitsConfig, ModelSpec, PlacementConfig, TimeoutsConfig
from gateway.engine import errors
from gateway.engine.events import (
    Command,
    Event,
    FailJob,
    FrameReceived,
    JobArrived,
    ModelDescribed,
    Tick,
    WorkerDied,
    WorkerReady,
)
from gateway.engine.placement import Device
from gateway.engine.scheduler import Scheduler
from gateway.keys import USUAL, KeyLimits

DESCRIPTION = Description(["generate"], [], memory_bytes=60)
RESULT = GenerationResult("", "stop", 1, 1)


class Desk:
    """A scheduler with one or more models, and short words for what happens to it."""

    def __init__(
        self, *models: str, replicas: int = 1, spec: Mapping[str, Any] = MappingProxyType({}), **settings: Any
    ) -> None:
        """`spec`: further settings of every model; `settings`: limits and timeouts."""
        specs = [
            ModelSpec(name=name, backend="fake", tasks=["generate"], source="x", replicas=replicas, **spec)
            for name in models or ("m",)
        ]
        limits = LimitsConfig(
            queued_jobs_per_model=settings.pop("queue", 10),
            queued_jobs_per_key=settings.pop("queue_per_key", 99),
            jobs_per_key=settings.pop("per_key", 99),
        )
        placement = PlacementConfig(
            min_residency_s=settings.pop("residency", 0), yield_after_s=settings.pop("yield_after", 5)
        )
        devices = settings.pop("devices", [Device("cpu", 100)])
        self.scheduler = Scheduler(specs, devices, limits, TimeoutsConfig(**settings), placement)
        self.fleet = self.scheduler.fleet
        self.now = 1000.0
        self.received = 0
        for model in specs:
            self.tell(ModelDescribed(model.name, DESCRIPTION))

    def tell(self, event: Event) -> list[Command]:
        return self.scheduler.handle(event, self.now)

    def job(
        self,
        job_id: str,
        model: str = "m",
        *,
        stream: bool = True,
        items: int = 1,
        answers: int = 1,
        prompt: str = "x",
        key: str = "key",
        limits: KeyLimits = USUAL,
        **more: Any,
    ) -> list[Command]:
        parameters = GenerateParameters(n=answers)
        job = Job(job_id, model, "generate", parameters, [Text(prompt)] * items, stream, **more)
        return self.tell(JobArrived(job, key, limits))

    def ready(self, worker_id: int, free: int = 4) -> list[Command]:
        return self.tell(WorkerReady(worker_id, Capacity(free, -1, 0, 0), 1.0))

    def frame(
        self, worker_id: int, *outputs: Output, free: int = 4, queued: int = 0, received: int = 99
    ) -> list[Command]:
        return self.tell(FrameReceived(worker_id, Frame(list(outputs), Capacity(free, -1, queued, received))))

    def die(self, worker_id: int, **more: Any) -> list[Command]:
        return self.tell(WorkerDied(worker_id, "exited with status 9", **more))

    def tick(self, seconds: float) -> list[Command]:
        self.now += seconds
        return self.tell(Tick())


def failure(commands: list[Command], job_id: str) -> errors.GatewayError:
    return next(c.error for c in commands if isinstance(c, FailJob) and c.job_id == job_id)


def of(kind: type, commands: list[Command]) -> list[Any]:
    return [command for command in commands if isinstance(command, kind)]
