"""Makes what watchers hear, and the log and the metrics tell, of what happens to workers and models.

Reads the fleet and changes nothing.
"""

import time

import structlog

from gateway.engine import events
from gateway.engine.bulletin import Bulletin, ModelEvent, ModelEventKind
from gateway.engine.fleet import Fleet, Model, Worker
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class Reporter:
    """Told of each event before it is decided about, and of each command after it was carried out."""

    def __init__(self, fleet: Fleet, metrics: Metrics) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._seen: tuple[Worker, str] | None = None
        self._commands: list[events.Command] = []
        self.bulletin = Bulletin()

    def before(self, event: events.Event) -> None:
        """Keep what is gone afterwards."""
        self._seen = None
        if isinstance(event, events.WorkerDied) and (worker := self._fleet.workers.get(event.worker_id)):
            self._seen = worker, worker.state

    def command(self, command: events.Command) -> None:
        """Tell of it after the event that led to it."""
        self._commands.append(command)

    def after(self, event: events.Event) -> None:
        self._tell_event(event)
        self.flush()

    def flush(self) -> None:
        if not self._commands:
            return
        commands, self._commands = self._commands, []
        for command in commands:
            self._tell_command(command)

    def _tell_event(self, event: events.Event) -> None:
        match event:
            case events.LoadProgressed(worker_id, stage, fraction):
                if worker := self._fleet.workers.get(worker_id):
                    self._of_worker("progress", worker, stage=stage, fraction=fraction)
            case events.WorkerReady(worker_id, load_s=load_s, pid=pid):
                if worker := self._fleet.workers.get(worker_id):
                    self._metrics.worker_event(worker.model, "ready")
                    self._metrics.load_ended(worker.model, "ok", load_s)
                    took_s = round(load_s, 2)
                    log.info("model ready", model=worker.model, worker=worker.id, pid=pid, load_s=took_s)
                    self._of_worker("ready", worker, load_s=load_s)
            case events.WorkerDied():
                self._report_death(event)
            case events.ModelBroken(name, error):
                self.of_model("failed", name, reason=error.message)
            case events.SwapAsked(spec, version):
                self.of_model("swapping", spec.name, version=version)
            case events.UnloadAsked(name):
                self.of_model("unloading", name)
            case events.ModelAdded(spec):
                self.of_model("added", spec.name)
            case events.ModelRemoved(name):
                self.of_model("removed", name)
            case events.ModelChanged(spec):
                self.of_model("changed", spec.name)

    def _tell_command(self, command: events.Command) -> None:
        match command:
            case events.StartWorker(worker_id, model):
                self._metrics.worker_event(model, "started")
                if worker := self._fleet.workers.get(worker_id):
                    self._of_worker("loading", worker)
            case events.PressureChanged(step, reading):
                self._metrics.pressure_changed(step)
                shown = {"total_mb": reading.total_bytes >> 20, "available_mb": reading.available_bytes >> 20}
                log.warning("memory pressure", step=step, stalled=round(reading.stalled, 3), **shown)
            case events.WorkShed(model, action):
                self._metrics.shed(model, action)
                log.warning("given up for memory", model=model, action=action)
            case events.SwitchVersion(model, version):
                self._metrics.swap_ended(model, "ok")
                log.info("model swapped", model=model, version=version)
                self.of_model("swapped", model, version=version)
            case events.FailSwap(model, version, error):
                self._metrics.swap_ended(model, error.code or "failed")
                log.warning("swap failed", model=model, version=version, reason=error.message)
                self.of_model("swap_failed", model, version=version, reason=error.message)

    def states(self) -> list[ModelEvent]:
        """How every model is now."""
        return [self._event("state", model.spec.name) for model in self._fleet.models.values()]

    def of_model(self, kind: ModelEventKind, name: str, *, version: int = 0, reason: str = "") -> None:
        self.bulletin.publish(self._event(kind, name, version=version, reason=reason))

    def _report_death(self, event: events.WorkerDied) -> None:
        if self._seen is None:
            return
        worker, state = self._seen
        meant = state in ("draining", "stopping")
        self._metrics.worker_event(worker.model, "stopped" if meant else "died")
        if not worker.loaded:
            self._metrics.load_ended(worker.model, "cancelled" if meant else event.kind)
        reason = worker.stop_reason if meant else event.reason
        self._of_worker("unloaded" if meant else "died", worker, reason=reason)
        model = self._fleet.models.get(worker.model)
        if model and not meant and model.version == worker.version and self._state(model) == "failed":
            self.of_model("failed", worker.model, reason=model.error.message if model.error else reason)

    def _of_worker(
        self,
        kind: ModelEventKind,
        worker: Worker,
        *,
        reason: str = "",
        load_s: float = 0.0,
        stage: str = "",
        fraction: float = 0.0,
    ) -> None:
        event = ModelEvent(
            event=kind,
            model=worker.model,
            version=worker.version,
            state=self._state(self._fleet.models.get(worker.model)),
            at=round(time.time(), 3),
            worker=worker.id,
            device=worker.device,
            stage=stage,
            fraction=fraction,
            load_s=round(load_s, 3),
            reason=reason,
        )
        self.bulletin.publish(event)

    def _event(self, kind: ModelEventKind, name: str, *, version: int = 0, reason: str = "") -> ModelEvent:
        model = self._fleet.models.get(name)
        return ModelEvent(
            event=kind,
            model=name,
            version=version or (model.version if model else 0),
            state=self._state(model),
            at=round(time.time(), 3),
            reason=reason or (model.error.message if kind == "state" and model and model.error else ""),
        )

    @staticmethod
    def _state(model: Model | None) -> str:
        return model.state(time.monotonic()) if model else "removed"
