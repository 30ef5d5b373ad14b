"""Decides: admission, queues, dispatch, starts and evictions, replay after a death. Pure.

`handle(event, now)` changes the fleet and returns commands; nothing here reads a clock, waits or logs, so
every decision can be tested by feeding events. Each event goes to the one of the `deciders` it concerns.
"""

from collections.abc import Iterable, Sequence

from config.schema import LimitsConfig, ModelSpec, PlacementConfig, PressureConfig, TimeoutsConfig
from gateway.engine.deciders import (
    idle,
    jobs,
    memory,
    models,
    outputs,
    progress,
    relief,
    removals,
    sessions,
    stops,
    swaps,
    workers,
)
from gateway.engine.deciders.advance import advance, advance_waiting
from gateway.engine.events import (
    Command,
    DrainStarted,
    Event,
    FrameReceived,
    InputGiven,
    JobAborted,
    JobArrived,
    LoadProgressed,
    MemoryMeasured,
    MemoryRead,
    MemoryReturned,
    ModelAdded,
    ModelBroken,
    ModelChanged,
    ModelDescribed,
    ModelRemoved,
    ModelWanted,
    SwapAsked,
    Tick,
    UnloadAsked,
    WorkerDied,
    WorkerReady,
)
from gateway.engine.fleet import Fleet
from gateway.engine.placement import Device


class Scheduler:
    """See the module's docstring. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        devices: Sequence[Device],
        limits: LimitsConfig,
        timeouts: TimeoutsConfig,
        placement: PlacementConfig | None = None,
        *,
        pressure: PressureConfig | None = None,
    ) -> None:
        self.fleet = Fleet(
            specs,
            devices,
            limits,
            timeouts,
            placement=placement or PlacementConfig(),
            pressure=pressure or PressureConfig(),
        )

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about `event`, in order."""
        commands = self._handle(event, now)
        commands += removals.let_go_of_all(self.fleet, now)
        while self.fleet.freed:  # a key's job may have ended at one model while others wait at another
            if (model := self.fleet.versions.get(self.fleet.freed.pop())) is not None:
                commands += advance(self.fleet, model, now)
        if self.fleet.room_changed:  # once, whatever has happened: each look at all who wait is dear
            commands += advance_waiting(self.fleet, now)
            self.fleet.room_changed = False
        return commands

    def _handle(self, event: Event, now: float) -> list[Command]:
        fleet = self.fleet
        match event:
            case FrameReceived(worker_id, frame):
                return outputs.take_frame(fleet, worker_id, frame, now)
            case InputGiven(message):
                return sessions.give_input(fleet, message, now)
            case JobArrived():
                return jobs.take_job(fleet, event, now)
            case JobAborted(job_id, error):
                return [*jobs.abort_job(fleet, job_id, error, now), *memory.review(fleet, now)]
            case LoadProgressed(worker_id, stage):
                return workers.note_progress(fleet, worker_id, stage)
            case WorkerReady():
                return workers.take_ready(fleet, event, now)
            case WorkerDied():
                return workers.take_death(fleet, event, now)
            case MemoryRead():
                return relief.take_reading(fleet, event, now)
            case DrainStarted():
                return sessions.drain(fleet, now)
            case Tick():
                commands = [c for kind, name in fleet.timers.due(now) for c in self._due(kind, name, now)]
                return [*commands, *memory.review(fleet, now)]
            case MemoryMeasured() | MemoryReturned():
                return memory.take_memory(fleet, event, now)
            case _:
                return self._of_model(event, now)

    def _of_model(self, event: Event, now: float) -> list[Command]:
        fleet = self.fleet
        match event:
            case ModelDescribed():
                return models.take_description(fleet, event, now)
            case ModelWanted():
                return models.want_model(fleet, event, now)
            case UnloadAsked():
                return models.unload_model(fleet, event, now)
            case ModelAdded(spec, version):
                return models.add_model(fleet, spec, version, now)
            case ModelRemoved(name):
                return models.drop_model(fleet, name, now)
            case ModelChanged(spec):
                return models.change_model(fleet, spec, now)
            case SwapAsked():
                return swaps.begin_swap(fleet, event, now)
            case ModelBroken(name, error):
                return models.break_model(fleet, name, error, now)
        raise AssertionError(f"unknown event {event!r}")

    def next_wake(self) -> float | None:
        """When the next Tick is needed."""
        return self.fleet.timers.next_at()

    def _due(self, kind: str, subject: str, now: float) -> list[Command]:
        match kind:
            case "job":
                return jobs.check_deadline(self.fleet, subject, now)
            case "retry":
                model = self.fleet.models.get(subject)
                return advance(self.fleet, model, now) if model else []
            case "room":
                self.fleet.room_changed = True
                return []
            case "load":
                return progress.check_load(self.fleet, int(subject))
            case "watchdog":
                return progress.check_progress(self.fleet, int(subject), now)
            case "idle":
                return idle.check_idle(self.fleet, int(subject), now)
            case "drain":
                return stops.end_sessions(self.fleet, int(subject), now)
            case "swap":
                return swaps.check_swap(self.fleet, subject, now)
        raise AssertionError(f"unknown deadline {kind!r}")
