"""Jobs that come, are given up, or run out of time."""

import pytest

from backends.protocol import (
    Capacity,
    Delta,
    Failed,
    Finished,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    Dispatch,
    DrainStarted,
    FailJob,
    JobAborted,
    ModelWanted,
    StartWorker,
    WorkerReady,
)
from tests.unit.gateway.engine.desk import Desk, failure, of


def test_a_full_queue_refuses_with_a_time_to_wait() -> None:
    desk = Desk(queue=1)
    desk.job("a")
    error = failure(desk.job("b"), "b")
    assert isinstance(error, errors.QueueFull)
    assert error.retry_after_s == 1.0


def test_the_time_to_wait_follows_the_rate_of_ends() -> None:
    desk = Desk(queue=6)
    for i in range(5):
        desk.job(f"early{i}")
    desk.ready(1, free=8)
    for i in range(5):
        desk.now += 2
        desk.frame(1, Started(f"early{i}"), Finished(f"early{i}"), free=-9)
    for i in range(6):
        desk.job(f"late{i}")
    assert failure(desk.job("more"), "more").retry_after_s == pytest.approx(6.0)


def test_a_key_over_its_bound_is_refused_and_freed_again() -> None:
    desk = Desk(per_key=1)
    desk.job("a")
    assert isinstance(failure(desk.job("b"), "b"), errors.LimitExceeded)
    desk.tell(JobAborted("a", errors.InternalError("gone")))
    assert not of(FailJob, desk.job("c"))


def test_draining_refuses() -> None:
    desk = Desk()
    desk.tell(DrainStarted())
    assert isinstance(failure(desk.job("a"), "a"), errors.Draining)


def test_an_abort_reaches_the_worker_and_its_late_outputs_are_ignored() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1)
    desk.frame(1, Started("a"))
    commands = desk.tell(JobAborted("a", errors.InternalError("gone")))
    assert AbortJob(1, "a") in commands
    assert desk.fleet.workers[1].running == 1, "the worker still holds it"
    assert not desk.frame(1, Delta("a", 0, "x"), Failed("a", "aborted", "aborted"))
    assert desk.fleet.workers[1].running == 0


def test_an_abort_in_the_queue_is_no_business_of_the_worker() -> None:
    desk = Desk()
    desk.job("a")
    assert not of(AbortJob, desk.tell(JobAborted("a", errors.InternalError("gone"))))
    assert not of(Dispatch, desk.ready(1))


def test_an_abort_of_an_ended_job_is_nothing() -> None:
    assert Desk().tell(JobAborted("never", errors.InternalError("gone"))) == []


def test_waiting_too_long() -> None:
    desk = Desk(queue_s=5.0)
    desk.job("a")
    assert not desk.tick(4.9)
    assert isinstance(failure(desk.tick(0.2), "a"), errors.QueueTimeout)


def test_running_too_long() -> None:
    desk = Desk()
    desk.job("a", timeout_s=5.0)
    desk.ready(1)
    commands = desk.tick(5.1)
    assert isinstance(failure(commands, "a"), errors.RequestTimeout)
    assert AbortJob(1, "a") in commands


def test_a_dispatched_job_is_past_the_queue_limit() -> None:
    desk = Desk(queue_s=5.0)
    desk.job("a")
    desk.ready(1)
    assert not of(FailJob, desk.tick(6))


def test_a_load_longer_than_the_queue_limit_goes_on_without_the_client() -> None:
    desk = Desk(queue_s=5.0)
    desk.tell(ModelWanted("m"))
    desk.tell(WorkerReady(1, Capacity(1, -1, 0, 0), 30.0))
    desk.die(1)
    assert isinstance(failure(desk.job("a"), "a"), errors.ModelLoading)
    assert of(StartWorker, desk.tick(1.0))
