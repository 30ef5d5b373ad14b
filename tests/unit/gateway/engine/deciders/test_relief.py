"""What is given up when memory runs short."""

from backends.protocol import Delta, Failed, Finished, Started
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    Command,
    Dispatch,
    FailJob,
    MemoryRead,
    ModelWanted,
    PressureChanged,
    ReplayJob,
    StartWorker,
    StopWorker,
    WorkShed,
)
from gateway.engine.placement import Device
from gateway.engine.pressure import Reading
from tests.unit.gateway.engine.desk import Desk, failure, of

SHORT, ENOUGH = MemoryRead(Reading(100, 1)), MemoryRead(Reading(100, 50))
BATCH = -1


def press(desk: Desk, times: int) -> list[Command]:
    """So many steps up."""
    commands: list[Command] = []
    for _ in range(times):
        desk.now += 10
        commands += desk.tell(SHORT)
    return commands


def test_new_work_and_loads_are_refused_and_go_on_with_relief() -> None:
    desk = Desk()
    assert press(desk, 1) == [PressureChanged("refuse", SHORT.reading)]
    error = failure(desk.job("a"), "a")
    assert isinstance(error, errors.MemoryShort)
    assert error.retry_after_s
    assert not desk.tell(ModelWanted("m"))
    assert desk.tell(ENOUGH) == [PressureChanged("calm", ENOUGH.reading), StartWorker(1, "m", "cpu")]
    assert not of(FailJob, desk.job("b"))


def test_what_runs_goes_on_at_first() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1)
    assert press(desk, 2)[-1] == PressureChanged("evict", SHORT.reading)
    assert not of(FailJob, desk.frame(1, Started("a"), Finished("a")))


def test_idle_models_are_evicted() -> None:
    desk = Desk("a", "b", devices=[Device("cpu", 1000)])
    for worker_id, name in enumerate("ab", 1):
        desk.tell(ModelWanted(name))
        desk.ready(worker_id)
    desk.job("x", "a")
    assert press(desk, 2)[1:] == [
        PressureChanged("evict", SHORT.reading),
        StopWorker(2),
        WorkShed("b", "evicted"),
    ]


def test_batch_jobs_wait_again_and_begin_anew_with_relief() -> None:
    desk = Desk()
    desk.job("batch", priority=BATCH, stream=False)
    desk.job("normal")
    desk.ready(1)
    desk.frame(1, Started("normal"), Started("batch"))
    commands = press(desk, 3)
    assert {AbortJob(1, "batch"), ReplayJob("batch"), WorkShed("m", "put back")} <= set(commands)
    assert not of(FailJob, commands)
    assert not of(Dispatch, desk.frame(1))
    assert not of(Dispatch, desk.tell(ENOUGH)), "the worker has not let go of it yet"
    again = desk.frame(1, Failed("batch", "aborted", "aborted"))
    assert [c.job.id for c in of(Dispatch, again)] == ["batch"]
    assert not of(FailJob, again)


def test_a_batch_job_that_has_sent_something_ends() -> None:
    desk = Desk()
    desk.job("batch", priority=BATCH)
    desk.ready(1)
    desk.frame(1, Started("batch"), Delta("batch", 0, "x"))
    commands = press(desk, 3)
    assert isinstance(failure(commands, "batch"), errors.MemoryShort)
    assert WorkShed("m", "aborted") in commands
