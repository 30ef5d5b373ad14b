"""Models that are served no more."""

from backends.protocol import Finished, Started
from config.schema import ModelSpec
from gateway.engine import errors
from gateway.engine.events import (
    Dispatch,
    FailJob,
    ForgetVersion,
    JobAborted,
    ModelAdded,
    ModelDescribed,
    ModelRemoved,
    ModelWanted,
    StartWorker,
    StopWorker,
)
from gateway.engine.placement import Device
from gateway.keys import KeyLimits
from tests.unit.gateway.engine.desk import DESCRIPTION, Desk, failure, of

SPEC = ModelSpec(name="m", backend="fake", tasks=["generate"], source="y")


def loaded() -> Desk:
    desk = Desk()
    desk.tell(ModelWanted("m"))
    desk.ready(1)
    return desk


def test_an_idle_one_stops_and_is_forgotten() -> None:
    desk = loaded()
    assert desk.tell(ModelRemoved("m")) == [StopWorker(1)]
    assert isinstance(failure(desk.job("late"), "late"), errors.ModelNotFound)
    assert desk.die(1) == [ForgetVersion("m", 1)]
    assert not desk.fleet.versions


def test_one_that_was_never_loaded_is_forgotten_at_once() -> None:
    assert Desk().tell(ModelRemoved("m")) == [ForgetVersion("m", 1)]


def test_what_runs_and_what_waits_is_still_answered() -> None:
    desk = loaded()
    desk.job("a")
    desk.frame(1, Started("a"), free=-9)
    desk.job("b")
    assert not of(StopWorker, desk.tell(ModelRemoved("m")))
    assert [c.job.id for c in of(Dispatch, desk.frame(1, Finished("a"), free=4))] == ["b"]
    assert StopWorker(1) in desk.frame(1, Started("b"), Finished("b"))


def test_what_waits_for_a_load_is_still_answered() -> None:
    desk = Desk()
    desk.job("a")
    desk.tell(ModelRemoved("m"))
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["a"]
    assert StopWorker(1) in desk.frame(1, Started("a"), Finished("a"))


def test_what_waits_without_a_worker_is_told() -> None:
    desk = Desk()
    desk.job("a")
    desk.tell(ModelRemoved("m"))
    commands = desk.die(1)
    assert isinstance(failure(commands, "a"), errors.ModelNotFound)
    assert not of(StartWorker, commands), "it does not come back"
    assert ForgetVersion("m", 1) in commands


def test_the_same_name_may_come_again_at_once() -> None:
    desk = loaded()
    desk.job("a")
    desk.frame(1, Started("a"), free=-9)
    desk.job("b")
    desk.tell(ModelRemoved("m"))
    desk.tell(ModelAdded(SPEC, 2))
    assert not of(FailJob, desk.tell(ModelDescribed("m", DESCRIPTION))), "b waits for the new one now"
    assert StopWorker(1) in desk.frame(1, Finished("a"))
    assert of(StartWorker, desk.die(1)) == [StartWorker(2, "m", "cpu", 2)]
    assert [c.job.id for c in of(Dispatch, desk.ready(2))] == ["b"]


def with_a_held_job() -> Desk:
    """`a` was removed; the one job that waits for it is of a key that runs as many as it may, at `b`."""
    desk = Desk("a", "b", devices=[Device("cpu", 1000)])
    for worker_id, name in enumerate("ab", 1):
        desk.tell(ModelWanted(name))
        desk.ready(worker_id)
    desk.job("runs", "b", limits=KeyLimits(max_running=1))
    desk.frame(2, Started("runs"))
    desk.job("held", "a", limits=KeyLimits(max_running=1))
    assert not of(StopWorker, desk.tell(ModelRemoved("a")))
    return desk


def test_it_stops_when_the_last_job_that_waits_is_aborted() -> None:
    desk = with_a_held_job()
    assert StopWorker(1) in desk.tell(JobAborted("held", errors.InternalError("gone")))
    assert ForgetVersion("a", 1) in desk.die(1)


def test_it_stops_when_the_last_job_that_waits_has_waited_for_too_long() -> None:
    desk = with_a_held_job()
    desk.now += desk.fleet.timeouts.queue_s
    desk.frame(2)
    assert StopWorker(1) in desk.tick(0)


def test_a_version_stops_when_its_job_goes_to_one_added_under_its_name() -> None:
    desk = with_a_held_job()
    spec = ModelSpec(name="a", backend="fake", tasks=["generate"], source="y")
    assert StopWorker(1) in desk.tell(ModelAdded(spec, 2))


def test_nobody_is_evicted_for_one_that_found_too_little_memory() -> None:
    desk = Desk("a", "b", devices=[Device("cpu", 130)])
    desk.tell(ModelWanted("b"))
    desk.ready(1)
    desk.job("x", "a")
    desk.tell(ModelRemoved("a"))
    commands = desk.die(2, kind="out_of_memory")
    assert not of(StopWorker, commands)
    assert isinstance(failure(commands, "x"), errors.ModelNotFound)
    assert ForgetVersion("a", 1) in commands
