"""Jobs that come, are given up, or run out of time."""

import pytest

from backends.protocol import (
    Capacity,
    Delta,
    Failed,
    Finished,
    Requeue,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    Dispatch,
    DrainStarted,
    FailJob,
    JobAborted,
    MemoryMeasured,
    ModelWanted,
    StartWorker,
    StopWorker,
    UnloadAsked,
    WorkerReady,
)
from gateway.engine.placement import Device
from gateway.keys import KeyLimits
from tests.unit.gateway.engine.desk import Desk, failure, of

GONE = errors.InternalError("gone")


def test_a_full_queue_refuses_with_a_time_to_wait() -> None:
    desk = Desk(queue=1)
    desk.job("a")
    error = failure(desk.job("b"), "b")
    assert isinstance(error, errors.QueueFull)
    assert error.retry_after_s == 1.0


def keep_busy(desk: Desk, pause_s: float) -> None:
    """Let one job go every so often, while nine wait."""
    for i in range(10):
        desk.job(f"early{i}")
    desk.ready(1, free=-1)
    for i in range(5):
        desk.now += pause_s
        desk.frame(1, free=-1)  # one place of the look-ahead
        desk.job(f"late{i}")


def test_the_time_to_wait_follows_the_pace() -> None:
    desk = Desk()
    keep_busy(desk, 2.0)
    desk.job("tenth")
    error = failure(desk.job("more"), "more")
    assert isinstance(error, errors.QueueFull)
    assert error.retry_after_s == pytest.approx(10.0), "five jobs, two seconds each"
    assert error.queue_length == 10


def test_a_job_that_cannot_begin_before_its_deadline_is_refused_at_once() -> None:
    desk = Desk()
    keep_busy(desk, 2.0)
    error = failure(desk.job("hasty", timeout_s=5.0), "hasty")
    assert isinstance(error, errors.WaitTooLong)
    assert (error.queue_position, error.queue_length) == (10, 9)
    assert error.retry_after_s == pytest.approx(9 * 2.0 - 5.0)
    assert not of(FailJob, desk.job("urgent", timeout_s=5.0, priority=1)), "it goes before all of them"


def test_a_job_that_would_wait_longer_than_any_may_is_refused_at_once() -> None:
    desk = Desk(queue_s=15.0)
    keep_busy(desk, 2.0)
    assert isinstance(failure(desk.job("late"), "late"), errors.WaitTooLong)


def test_a_load_that_is_nearly_done_is_waited_for() -> None:
    desk = Desk(queue_s=20.0)
    desk.tell(ModelWanted("m"))
    desk.tell(WorkerReady(1, Capacity(1, -1, 0, 0), 30.0))
    desk.die(1)
    desk.tick(1.0)
    assert isinstance(failure(desk.job("early"), "early"), errors.ModelLoading)
    desk.now += 15
    assert not of(FailJob, desk.job("late"))


def test_a_key_may_fill_a_part_of_the_queue_only() -> None:
    desk = Desk(queue_per_key=2)
    desk.job("a")
    desk.job("b")
    error = failure(desk.job("c"), "c")
    assert isinstance(error, errors.KeyQueueFull)
    assert error.queue_length == 2
    assert not of(FailJob, desk.job("d", key="another"))
    assert not of(FailJob, desk.job("e", key="")), "nobody in particular"
    assert not of(FailJob, desk.job("f", key="many", limits=KeyLimits(max_waiting=3)))


def test_a_key_over_its_jobs_with_workers_waits_for_itself_alone() -> None:
    desk = Desk("m", "n", devices=[Device("cpu", 1000)])
    limits = KeyLimits(max_running=2)
    for worker_id, model in enumerate("mn", 1):
        desk.tell(ModelWanted(model))
        desk.ready(worker_id)
    assert of(Dispatch, desk.job("a", limits=limits))
    assert of(Dispatch, desk.job("b", "n", limits=limits))
    assert not desk.job("c", "n", limits=limits)
    assert of(Dispatch, desk.job("d", "n", key="another"))
    assert [c.job.id for c in of(Dispatch, desk.frame(1, Started("a"), Finished("a")))] == ["c"]
    assert not desk.job("e", limits=limits)
    assert [c.job.id for c in of(Dispatch, desk.tell(JobAborted("b", errors.InternalError("gone"))))] == ["e"]


def test_a_worker_that_dies_frees_its_keys_places() -> None:
    desk = Desk()
    limits = KeyLimits(max_running=1)
    desk.job("a", limits=limits)
    desk.job("b", limits=limits)
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["a"]
    desk.die(1)
    desk.tick(1.0)
    assert [c.job.id for c in of(Dispatch, desk.ready(2))] == ["a"]
    assert [c.job.id for c in of(Dispatch, desk.frame(2, Started("a"), Finished("a")))] == ["b"]
    assert not of(Dispatch, desk.frame(2, Started("b"), Finished("b")))
    assert not desk.fleet.running_by_key
    assert not desk.fleet.held_keys


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
    assert of(StartWorker, desk.die(1))
    assert isinstance(failure(desk.job("a"), "a"), errors.ModelLoading)
    assert desk.fleet.models["m"].state(desk.now) == "starting"


def cold(load_s: float, **settings: float) -> Desk:
    """Its model was loaded once, which took so long, and was unloaded."""
    desk = Desk(**settings)
    desk.tell(ModelWanted("m"))
    desk.tell(WorkerReady(1, Capacity(4, -1, 0, 0), load_s))
    desk.tell(UnloadAsked("m"))
    desk.die(1)
    return desk


def test_a_load_that_takes_longer_than_requests_may_wait_is_begun_for_those_that_come_later() -> None:
    desk = cold(120.0)
    commands = desk.job("a")
    assert isinstance(failure(commands, "a"), errors.ModelLoading)
    assert of(StartWorker, commands) == [StartWorker(2, "m", "cpu")]
    desk.tick(60)
    commands = desk.job("b", timeout_s=5.0)
    assert isinstance(failure(commands, "b"), errors.ModelLoading)
    assert not of(StartWorker, commands)
    desk.ready(2)
    assert of(Dispatch, desk.job("c"))


def test_a_hasty_request_loads_a_model_too() -> None:
    desk = cold(20.0)
    assert of(StartWorker, desk.job("a", timeout_s=5.0))


def test_others_make_room_for_a_load_that_nobody_can_wait_for() -> None:
    """Wanted gently before, it has been asked for now."""
    desk = Desk("m", "n")
    desk.tell(ModelWanted("m", gently=True))
    desk.tell(WorkerReady(1, Capacity(4, -1, 0, 0), 120.0))
    desk.tell(ModelWanted("n"))
    desk.die(1)
    desk.ready(2)
    assert isinstance(failure(commands := desk.job("a"), "a"), errors.ModelLoading)
    assert of(StopWorker, commands) == [StopWorker(2)]
    assert of(StartWorker, desk.die(2)) == [StartWorker(3, "m", "cpu")]


def test_where_there_never_will_be_room_nobody_is_told_that_it_loads() -> None:
    desk = cold(120.0)
    desk.tell(MemoryMeasured([Device("cpu", 10)], {}))
    assert isinstance(failure(desk.job("a"), "a"), errors.NoRoom)


def test_a_load_goes_on_although_all_who_waited_ran_out_of_time() -> None:
    desk = Desk()
    assert of(StartWorker, desk.job("a", timeout_s=5.0))
    commands = desk.tick(5.1)
    assert isinstance(failure(commands, "a"), errors.RequestTimeout)
    assert not of(StopWorker, commands)
    assert not of(StartWorker, desk.job("b", timeout_s=5.0))
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["b"]


def test_a_pause_in_which_the_last_one_that_waited_left_does_not_count() -> None:
    desk = Desk()
    desk.job("running")
    desk.ready(1)
    desk.frame(1, free=-2)  # nor is there a place of the look-ahead
    for i in range(6):
        desk.job(f"a{i}")
        desk.job(f"b{i}")
        assert of(Dispatch, desk.frame(1, free=-1)), "while the other waits"
        desk.tell(JobAborted(f"b{i}", GONE))
        desk.frame(1, Started(f"a{i}"), Finished(f"a{i}"), free=-2)
        desk.now += 80
    assert desk.fleet.models["m"].pace.pause_s(desk.now) is None


def test_a_job_that_was_given_back_tells_nothing_of_the_pace() -> None:
    desk = Desk()
    desk.job("a")
    desk.ready(1)
    desk.frame(1, free=-2)
    for i in range(6):
        desk.job(f"b{i}")
        assert of(Dispatch, desk.frame(1, Requeue("a"), free=-1))[0].job.id == "a"
        desk.tell(JobAborted(f"b{i}", GONE))
        desk.frame(1, free=-2)
        desk.now += 80
    assert desk.fleet.models["m"].pace.pause_s(desk.now) is None


def test_jobs_that_wait_for_their_own_key_hold_up_nobody() -> None:
    desk = Desk()
    limits = KeyLimits(max_running=1)
    desk.job("c0", key="crawler", limits=limits)
    desk.ready(1)
    for i in range(6):
        assert not of(Dispatch, desk.job(f"c{i + 1}", key="crawler", limits=limits))
        assert of(Dispatch, desk.job(f"user{i}", key="user"))
        desk.now += 80
        desk.frame(1, Started(f"c{i}"), Finished(f"c{i}"), Started(f"user{i}"), Finished(f"user{i}"))
    assert desk.fleet.models["m"].pace.pause_s(desk.now) is None
