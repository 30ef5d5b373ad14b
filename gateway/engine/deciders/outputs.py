"""What workers report of their jobs, step by step. Pure."""

from backends.protocol import (
    AudioDelta,
    Delta,
    Failed,
    Finished,
    Frame,
    ItemDone,
    Output,
    PaintProgress,
    PictureDelta,
    Requeue,
    Started,
    TranscriptDelta,
)
from gateway.engine import errors, recovery
from gateway.engine.deciders.advance import advance
from gateway.engine.deciders.ends import end_job, put_back
from gateway.engine.deciders.removals import let_go
from gateway.engine.deciders.stops import stop_if_drained
from gateway.engine.events import Command, FailJob
from gateway.engine.fleet import Fleet, Worker


def take_frame(fleet: Fleet, worker_id: int, frame: Frame, now: float) -> list[Command]:
    worker = fleet.workers.get(worker_id)
    if worker is None:
        return []
    worker.progress_at = worker.last_used = now
    worker.update(frame.capacity)
    commands: list[Command] = []
    for output in frame.outputs:
        commands += _take_output(fleet, worker, output, now)
    commands += advance(fleet, fleet.version_of(worker), now)
    commands += stop_if_drained(worker) + let_go(fleet, fleet.version_of(worker), now)
    fleet.room_changed |= not worker.busy
    return commands


def _take_output(fleet: Fleet, worker: Worker, output: Output, now: float) -> list[Command]:
    entry = worker.jobs.get(output.job_id)
    if entry is None:
        if isinstance(output, Finished | Failed | Requeue):
            worker.aborting.discard(output.job_id)
        return []
    match output:
        case Delta() | TranscriptDelta() | AudioDelta() | PaintProgress() | PictureDelta() | ItemDone():
            # Without a stream the client sees nothing before the end, so a replay is still possible.
            entry.sent = entry.job.stream
        case Started():
            entry.started = True
        case Finished():
            del worker.jobs[output.job_id]
            fleet.suspects.acquit(entry)
            return end_job(fleet, entry, now)
        case Failed():
            del worker.jobs[output.job_id]
            return [FailJob(output.job_id, recovery.from_failed(output)), *end_job(fleet, entry, now)]
        case Requeue():
            del worker.jobs[output.job_id]
            if entry.is_session:  # what had been fed is lost
                gone = errors.WorkerDied("The worker has stopped; begin the session again.", retry_after_s=1)
                return [FailJob(output.job_id, gone), *end_job(fleet, entry, now)]
            put_back(fleet, entry, now)
    return []
