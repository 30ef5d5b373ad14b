"""What the author of a backend writes.

A backend runs one model in one worker process. It knows no HTTP, no channel and no other model. Register
it in the entry-point group `llm_cortex.backends`; CONTRIBUTING.md shows one from start to end.

Three processes call three parts of it:
- `describe` in a short-lived process: cheap facts, so that requests can be checked before a load;
- `preparer` in the prepare helper: turns a job into what the engine eats; may be killed at its deadline;
- `load` in the worker itself: gives the engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from msgspec import Struct

from backends.protocol import Capacity, Description, DeviceShare, Job, Output, Result, SessionInput, StepStats
from config.schema import ModelSpec


class JobError(Exception):
    """The job cannot be done, and it is the request's own fault: a 400 that names `param`."""

    def __init__(self, message: str, *, param: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class OutOfMemory(Exception):
    """The device has no room for this now; the engine itself is intact."""


class PreparedItem(Struct, array_like=True):
    """Base of what a preparer hands to the engine for one item; msgpack-encodable."""

    def discard(self) -> None:  # most hold nothing else
        """Called where nobody takes the item: remove what it holds outside itself, such as a file."""


P = TypeVar("P", bound=PreparedItem)


class Preparer(ABC, Generic[P]):
    """Lives in the prepare helper, one for its lifetime."""

    @abstractmethod
    def prepare(self, job: Job) -> list[P]:
        """One prepared item for each item of the job, in order. Raises JobError for the request's faults."""

    def answer(self, job: Job) -> list[Result]:
        """Results of a job that needs no engine (tokenize, detokenize), one for each item. Raises JobError.

        Only called for tasks that the description names; see backends/tokens.py.
        """
        raise JobError("this model's tokens cannot be shown", param="model")


class StepEngine(ABC, Generic[P]):
    """An engine that works in steps on many items at once: generation, transcription, diffusion.

    Single-threaded: every method is called from the worker's main thread.
    """

    announce: Callable[[str], None] = staticmethod(lambda job_id: None)
    """Set by the worker's loop. To be called with a job's id before the first of its items is worked on: it
    tells the gateway at once, so that a death in that very step names its suspects."""

    @abstractmethod
    def warm_up(self) -> None:
        """One real call, so that the first job pays no first-use cost. Raises if the model cannot work."""

    @abstractmethod
    def add(self, job: Job, items: list[P]) -> None:
        """Take a job on; it may wait inside. Raises JobError if it can never run."""

    @abstractmethod
    def step(self) -> list[Output]:
        """Do one bounded piece of work for every running item and say what came of it.

        Announces a job when its first item begins; gives Finished or Failed exactly once a job. An error of
        one item must not reach its neighbours; an exception from here is the death of the worker.
        """

    @abstractmethod
    def abort(self, job_id: str) -> bool:
        """Drop a job in whatever phase it is and free what it held. False: not known here."""

    @abstractmethod
    def has_work(self) -> bool:
        """True while step() has something to do."""

    @abstractmethod
    def capacity(self) -> Capacity:
        """What could be taken on now; `received` is filled in by the worker's loop."""

    @abstractmethod
    def stats(self) -> StepStats:
        """What the last step did."""

    def requeue(self, max_queued: int) -> list[str]:
        """Give back jobs that have not started beyond `max_queued` items; ids of the jobs dropped."""
        return []


def give_back(
    unstarted: Iterable[str], abort: Callable[[str], object], queued: Callable[[], int], max_queued: int
) -> list[str]:
    """For `requeue`: abort jobs in this order until at most `max_queued` items wait; which they were."""
    given_back: list[str] = []
    for job_id in unstarted:
        if queued() <= max_queued:
            break
        abort(job_id)
        given_back.append(job_id)
    return given_back


class SessionEngine(StepEngine[P]):
    """A StepEngine that also listens: it holds sessions, which are fed while they are open.

    Its description has the task `listen`. A session is aborted like a job, and `step` gives its outputs: a
    Committed, TurnDone or TurnFailed, in order, for each turn, and Finished after its `end`. `has_work` is
    true as long as any session has input that is not worked off. An idle session holds no place that another
    job could have. backends/listening does all of this but hearing and transcribing.
    """

    @abstractmethod
    def open_session(self, job: Job) -> None:
        """Take a session on; its parameters are SessionParameters. Raises JobError if it cannot be had."""

    @abstractmethod
    def take_input(self, message: SessionInput) -> None:
        """Queue what came for an open session; `step` works it off in the order in which it came."""

    @abstractmethod
    def backlog_bytes(self, job_id: str) -> int:
        """Audio of a session that was taken and not yet listened to, and that of turns that wait to be
        transcribed: as it grows the client is slowed down."""


class BatchEngine(ABC, Generic[P]):
    """An engine that computes a list of independent items in one call: embed, rerank, caption, classify."""

    max_batch_cost: int
    """Cost that one forward call may carry; see `cost`."""
    max_batch_items: int

    @abstractmethod
    def warm_up(self) -> None:
        """One real call. Raises if the model cannot work."""

    @abstractmethod
    def forward(self, job_parameters: Sequence[Any], items: Sequence[P]) -> list[Result]:
        """Results in the order of the items. `job_parameters[i]` are those of the job of `items[i]`.

        An exception makes the caller try the items one by one, so one bad item fails alone.
        """

    def batch_key(self, item: P) -> Hashable:
        """Only items with equal keys share a forward call."""
        return None

    def cost(self, item: P) -> int:
        """Size of an item, in the unit of `max_batch_cost` (tokens, pixels, seconds)."""
        return 1

    def padded_cost(self, costs: Sequence[int]) -> int:
        """Cost of a batch of items of these costs: padding to the longest."""
        return max(costs) * len(costs)


class Backend(ABC, Generic[P]):
    """One model: how to describe, prepare for, load and unload it."""

    prepared_type: ClassVar[type[PreparedItem]]
    """Struct that the preparer makes and the engine takes."""
    report: Callable[[float], None] = staticmethod(lambda fraction: None)
    """Set by the worker's loop. `load` may call it now and then with the share of the weights that it has
    read, 0 to 1: those who watch the load see it."""
    spread: Sequence[DeviceShare] = ()
    """Set before `load`: the devices among which the model is to be divided, that of `load` the first. Only
    where the description says `splits` and no single device has room; else empty."""

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        self.spec = spec
        self.weights = weights

    @abstractmethod
    def describe(self) -> Description:
        """What the model can do, from its files' headers. Imports lightly, allocates no weights."""

    @abstractmethod
    def preparer(self) -> Preparer[P]:
        """A preparer for this model."""

    @abstractmethod
    def load(self, device: str) -> StepEngine[P] | BatchEngine[P]:
        """Load the weights on `device` (`cpu`, `cuda:0` …). Raises OutOfMemory; ValueError for bad files."""

    def unload(self) -> None:  # most have nothing to do: the process ends
        """Free what must be freed before the process ends."""
