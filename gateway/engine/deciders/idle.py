"""Workers that have had nothing to do for so long that their memory is better free. Pure."""

from gateway.engine.deciders.stops import stop_worker
from gateway.engine.events import Command
from gateway.engine.fleet import Fleet, Model, Worker


def idle_ttl_s(fleet: Fleet, model: Model) -> float:
    """0: it may be idle for ever."""
    if model.pinned:
        return 0.0
    own = model.spec.idle_ttl_s
    return fleet.timeouts.idle_ttl_s if own is None else own


def watch_idleness(fleet: Fleet, worker: Worker, now: float) -> None:
    """To be called when it gets ready, and when the limit has changed."""
    limit_s = idle_ttl_s(fleet, fleet.version_of(worker))
    check_at = max(now, worker.last_used + limit_s)
    if limit_s and (not worker.idle_check_at or check_at < worker.idle_check_at):
        worker.idle_check_at = check_at
        fleet.timers.set(check_at, "idle", str(worker.id))


def check_idle(fleet: Fleet, worker_id: int, now: float) -> list[Command]:
    worker = fleet.workers.get(worker_id)
    if worker is None or now < worker.idle_check_at:
        return []  # the later deadline of two: another was set since
    worker.idle_check_at = 0.0
    if worker.state != "ready":
        return []
    model = fleet.version_of(worker)
    limit_s = idle_ttl_s(fleet, model)
    if not limit_s:
        return []
    if worker.busy or model.queue or model.spec.name in fleet.arriving:
        worker.last_used = now
    if now < worker.last_used + limit_s:
        watch_idleness(fleet, worker, now)
        return []
    model.wanted = False  # it comes back when somebody asks for it
    return [stop_worker(worker, f"idle for {limit_s:g} s")]
