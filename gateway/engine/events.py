"""What happens to the engine (past tense) and what it then does (imperative).

Events go into `Scheduler.handle`, commands come out; the engine's run loop carries them out. Plain facts:
no behaviour, no references to live objects.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from backends.protocol import Capacity, Description, Frame, Job, SessionInput
from config.schema import ModelSpec
from gateway.engine.errors import GatewayError
from gateway.engine.placement import Device, Share
from gateway.engine.pressure import Reading
from gateway.keys import USUAL, KeyLimits


class Event(Struct, frozen=True):
    """Something that has happened."""


class JobArrived(Event, frozen=True):
    job: Job
    key: str
    """Whose job it is, for turns and limits by key."""
    limits: KeyLimits = USUAL


class JobAborted(Event, frozen=True):
    """Nobody waits for the job any more, or its time is over. `error` goes to whoever still listens."""

    job_id: str
    error: GatewayError


class InputGiven(Event, frozen=True):
    """Something for a session; its credit covers it."""

    message: SessionInput


class ModelWanted(Event, frozen=True):
    """Load the model although no job waits for it, and keep it running."""

    model: str
    pinned: bool | None = None
    """From now on; None: as it was."""
    at_once: bool = False
    """Even if it has failed a moment ago."""
    gently: bool = False
    """Only where no other model has to leave for it, unless it is pinned; else its first request loads it."""


class UnloadAsked(Event, frozen=True):
    """Free the model's memory. `force`: its jobs fail; else those that run end first."""

    model: str
    force: bool = False


class ModelAdded(Event, frozen=True):
    spec: ModelSpec
    version: int


class ModelRemoved(Event, frozen=True):
    model: str


class ModelChanged(Event, frozen=True):
    """Only in settings that its workers do not know."""

    spec: ModelSpec


class SwapAsked(Event, frozen=True):
    """Put a new version, described already, in the place of the one that serves."""

    spec: ModelSpec
    version: int
    description: Description
    strategy: Literal["alongside", "replace"] = "alongside"
    only_if_loaded: bool = False
    """Where no worker runs, nothing is loaded: the next request does that."""
    learned_bytes: Mapping[str, int] = {}
    """As in ModelDescribed."""


class ModelDescribed(Event, frozen=True):
    model: str
    description: Description
    learned_bytes: Mapping[str, int] = {}
    """What earlier loads were seen to need, by kind of device."""


class ModelBroken(Event, frozen=True):
    """The model cannot be described or its weights are not there: only a person can mend it."""

    model: str
    error: GatewayError


class LoadProgressed(Event, frozen=True):
    """A worker says how far its load is."""

    worker_id: int
    stage: str
    fraction: float


class WorkerReady(Event, frozen=True):
    worker_id: int
    capacity: Capacity
    load_s: float
    pid: int = 0


class FrameReceived(Event, frozen=True):
    worker_id: int
    frame: Frame


class WorkerDied(Event, frozen=True):
    """The process is reaped. `external`: somebody else killed or stopped it, its jobs are not to blame."""

    worker_id: int
    reason: str
    external: bool = False
    kind: Literal["crash", "invalid_model", "out_of_memory"] = "crash"
    memory_back: bool = True
    """False: a MemoryReturned follows once it is."""
    stderr: Sequence[str] = ()
    """Its last lines, for administrators: they may hold what users wrote."""


class MemoryReturned(Event, frozen=True):
    """What a dead worker held is free again, or has been waited for long enough (not `in_time`)."""

    worker_id: int
    in_time: bool = True


class MemoryMeasured(Event, frozen=True):
    """What is there now, and what workers were seen to hold of it."""

    devices: Sequence[Device]
    held: Mapping[int, Mapping[str, int]]
    """Bytes by worker and device."""


class MemoryRead(Event, frozen=True):
    """How much memory the machine has left."""

    reading: Reading


class DrainStarted(Event, frozen=True):
    """Take no new jobs; let the running ones end."""


class Tick(Event, frozen=True):
    """The time that `next_wake` asked for has come."""


class Command(Struct, frozen=True):
    """Something to do."""


class PressureChanged(Command, frozen=True):
    """The machine runs short of memory, or has enough again. `step`: calm, refuse, evict or shed."""

    step: str
    reading: Reading


class WorkShed(Command, frozen=True):
    """Something of a model was given up for memory. `action`: evicted, put back or aborted."""

    model: str
    action: str


class StartWorker(Command, frozen=True):
    worker_id: int
    model: str
    device: str
    version: int = 1
    shares: tuple[Share, ...] = ()
    """Where the model is split over several devices: `device` is the first of them."""


class StopWorker(Command, frozen=True):
    """Ask the worker to end (it is idle or holds nothing that matters); killed after `timeouts.stop_s`."""

    worker_id: int


class KillWorker(Command, frozen=True):
    worker_id: int
    reason: str


class Dispatch(Command, frozen=True):
    worker_id: int
    job: Job


class SendInput(Command, frozen=True):
    worker_id: int
    message: SessionInput


class AbortJob(Command, frozen=True):
    worker_id: int
    job_id: str


class FailJob(Command, frozen=True):
    """The job has ended with this error."""

    job_id: str
    error: GatewayError


class ReplayJob(Command, frozen=True):
    """The job starts again from nothing: forget results of it that no client has seen."""

    job_id: str


class SwitchVersion(Command, frozen=True):
    """New jobs go to this version from now on."""

    model: str
    version: int


class FailSwap(Command, frozen=True):
    """The version that was to come does not; the one before goes on."""

    model: str
    version: int
    error: GatewayError


class ForgetVersion(Command, frozen=True):
    """Nothing is left of it."""

    model: str
    version: int


class JobEnded(Command, frozen=True):
    """The job has left the engine, finished or failed: nothing more will come for it."""

    job_id: str
