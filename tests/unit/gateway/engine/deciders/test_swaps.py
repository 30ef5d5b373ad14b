"""How a new version takes the place of the one that serves."""

from typing import Any

import msgspec
import pytest

from backends.protocol import Description, Feed, Finished, Job, Output, SessionParameters, Started
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    Command,
    Dispatch,
    DrainStarted,
    FailJob,
    FailSwap,
    ForgetVersion,
    InputGiven,
    JobAborted,
    JobArrived,
    MemoryMeasured,
    ModelChanged,
    ModelRemoved,
    ModelWanted,
    ReplayJob,
    SendInput,
    StartWorker,
    StopWorker,
    SwapAsked,
    SwitchVersion,
    UnloadAsked,
)
from gateway.engine.placement import Device
from tests.unit.gateway.engine.desk import Desk, failure, of

SMALL = Description(["generate"], [], memory_bytes=40)
HALF = {"memory_bytes": 40}


class Swaps(Desk):
    """A desk whose model has a worker that is ready, and room for one more."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**({"spec": HALF} | settings))
        self.tell(ModelWanted("m"))
        self.ready(1)

    def swap(self, version: int = 2, memory_bytes: int = 40, **more: Any) -> list[Command]:
        spec = msgspec.structs.replace(self.fleet.models["m"].spec, note="new", memory_bytes=memory_bytes)
        return self.tell(SwapAsked(spec, version, SMALL, **more))

    def begin(self, job_id: str, *outputs: Output) -> None:
        self.job(job_id)
        self.frame(1, Started(job_id), *outputs)


def swap_error(commands: list[Command]) -> errors.GatewayError:
    (failed,) = of(FailSwap, commands)
    error: errors.GatewayError = failed.error
    return error


def test_the_old_version_serves_until_the_new_one_is_ready() -> None:
    desk = Swaps()
    assert desk.swap() == [StartWorker(2, "m", "cpu", 2)]
    assert [c.worker_id for c in of(Dispatch, desk.job("before"))] == [1]
    commands = desk.ready(2)
    assert of(SwitchVersion, commands) == [SwitchVersion("m", 2)]
    assert not of(StopWorker, commands), "it still has a job"
    assert [c.worker_id for c in of(Dispatch, desk.job("after"))] == [2]
    assert StopWorker(1) in desk.frame(1, Started("before"), Finished("before"))
    assert ForgetVersion("m", 1) in desk.die(1)
    assert [model.version for model in desk.fleet.versions.values()] == [2]


def test_an_idle_old_version_stops_at_once() -> None:
    desk = Swaps()
    desk.swap()
    assert StopWorker(1) in desk.ready(2)
    assert not of(StartWorker, desk.die(1)), "the new one does its work"


def test_what_waits_goes_to_the_new_version() -> None:
    desk = Swaps(queue=50)
    for i in range(10):
        desk.job(str(i))
    desk.frame(1, free=-9)
    desk.job("high", priority=3)
    desk.swap()
    sent = [c.job.id for c in of(Dispatch, desk.ready(2, free=16))]
    assert sent == ["high", *map(str, range(6, 10))]


def test_a_job_that_the_old_worker_loses_runs_on_the_new_one() -> None:
    desk = Swaps()
    desk.begin("a")
    desk.swap()
    desk.ready(2)
    commands = desk.die(1)
    assert ReplayJob("a") in commands
    assert [c.worker_id for c in of(Dispatch, commands)] == [2]
    assert not desk.fleet.models["m"].deaths, "the new version is not to blame"


@pytest.mark.parametrize(
    ("kind", "expected"), [("crash", errors.ModelFailed), ("out_of_memory", errors.NoRoom)]
)
def test_a_new_version_that_does_not_load_leaves_the_old_one(
    kind: str, expected: type[errors.GatewayError]
) -> None:
    desk = Swaps()
    desk.swap()
    commands = desk.die(2, kind=kind)
    assert isinstance(swap_error(commands), expected)
    assert "exited with status 9" in swap_error(commands).message
    assert ForgetVersion("m", 2) in commands
    assert not of(StartWorker, commands)
    assert [c.worker_id for c in of(Dispatch, desk.job("a"))] == [1]
    assert desk.fleet.models["m"].state(desk.now) == "ready"


def test_a_swap_has_an_end() -> None:
    desk = Swaps(queue_s=5.0, load_s=7.0, spec={"memory_bytes": 60})
    desk.begin("a")
    desk.swap(memory_bytes=60, strategy="replace")
    desk.now += 12.1
    desk.frame(1)
    commands = desk.tick(0)
    assert isinstance(swap_error(commands), errors.ModelFailed)
    assert ForgetVersion("m", 2) in commands
    assert not desk.fleet.wants_room
    assert [c.worker_id for c in of(Dispatch, desk.job("b"))] == [1], "the old worker had not gone yet"


def test_a_load_that_takes_too_long_ends_the_swap() -> None:
    desk = Swaps(load_s=7.0)
    desk.swap()
    desk.tick(7.1)
    assert isinstance(swap_error(desk.die(2)), errors.ModelFailed)


def test_no_room_for_both_is_said() -> None:
    error = swap_error(Swaps().swap(memory_bytes=70))
    assert isinstance(error, errors.NoRoom)
    assert "replace" in error.message


@pytest.mark.parametrize("strategy", ["alongside", "replace"])
def test_what_never_fits_is_refused_before_anything_stops(strategy: str) -> None:
    desk = Swaps()
    assert isinstance(swap_error(desk.swap(memory_bytes=200, strategy=strategy)), errors.NoRoom)
    assert [c.worker_id for c in of(Dispatch, desk.job("a"))] == [1]


def test_replace_stops_the_old_version_first_and_holds_the_queue() -> None:
    desk = Swaps()
    desk.begin("running")
    assert not of(StartWorker, desk.swap(memory_bytes=70, strategy="replace"))
    assert not of(Dispatch, desk.job("waiting"))
    assert StopWorker(1) in desk.frame(1, Finished("running"))
    assert of(StartWorker, desk.die(1)) == [StartWorker(2, "m", "cpu", 2)]
    commands = desk.ready(2)
    assert SwitchVersion("m", 2) in commands
    assert [c.job.id for c in of(Dispatch, commands)] == ["waiting"]


def test_a_replacement_that_does_not_load_brings_the_old_version_back() -> None:
    desk = Swaps()
    desk.swap(memory_bytes=70, strategy="replace")
    desk.die(1)
    commands = desk.die(2)
    assert isinstance(swap_error(commands), errors.ModelFailed)
    assert of(StartWorker, commands) == [StartWorker(3, "m", "cpu", 1)]


def test_all_replicas_arrive_before_the_switch() -> None:
    desk = Swaps(replicas=2, spec={"memory_bytes": 20})
    desk.ready(2)
    assert of(StartWorker, desk.swap(memory_bytes=20)) == [StartWorker(3, "m", "cpu", 2)]
    assert desk.ready(3) == [StartWorker(4, "m", "cpu", 2)]
    assert SwitchVersion("m", 2) in desk.ready(4)


def test_others_may_be_evicted_for_it_but_never_the_version_that_serves() -> None:
    desk = Desk("m", "other", spec=HALF)
    for worker_id, name in enumerate(("m", "other"), 1):
        desk.tell(ModelWanted(name))
        desk.ready(worker_id)
    spec = msgspec.structs.replace(desk.fleet.models["m"].spec, note="new")
    assert desk.tell(SwapAsked(spec, 2, SMALL)) == [StopWorker(2)]
    assert of(StartWorker, desk.die(2)) == [StartWorker(3, "m", "cpu", 2)]


def test_a_model_that_is_not_loaded_is_only_changed_where_that_is_enough() -> None:
    desk = Desk(spec=HALF)
    spec = msgspec.structs.replace(desk.fleet.models["m"].spec, note="new")
    commands = desk.tell(SwapAsked(spec, 2, SMALL, only_if_loaded=True))
    assert commands == [SwitchVersion("m", 2), ForgetVersion("m", 1)]
    assert of(StartWorker, desk.job("a")) == [StartWorker(1, "m", "cpu", 2)]


def test_a_second_swap_waits_its_turn() -> None:
    desk = Swaps()
    desk.swap()
    assert isinstance(swap_error(desk.swap(3)), errors.Conflict)
    assert SwitchVersion("m", 2) in desk.ready(2)


def test_no_swap_of_what_is_not_served_or_while_shutting_down() -> None:
    desk = Swaps()
    spec = desk.fleet.models["m"].spec
    desk.tell(ModelRemoved("m"))
    assert isinstance(swap_error(desk.tell(SwapAsked(spec, 2, SMALL))), errors.ModelNotFound)
    other = Swaps()
    other.tell(DrainStarted())
    assert isinstance(swap_error(other.swap()), errors.Draining)


def test_a_removal_ends_a_swap() -> None:
    desk = Swaps()
    desk.swap()
    commands = desk.tell(ModelRemoved("m"))
    assert isinstance(swap_error(commands), errors.ModelNotFound)
    assert [c.worker_id for c in of(StopWorker, commands)] == [2, 1]


def test_sessions_of_the_old_version_have_the_drain_time() -> None:
    desk = Swaps(drain_s=30.0)
    desk.tell(JobArrived(Job("s", "m", "listen", SessionParameters(), [], True), "key"))
    desk.frame(1, Started("s"))
    desk.swap()
    desk.ready(2)
    assert of(SendInput, desk.tell(InputGiven(Feed("s", b"\0\0")))), "it goes on for now"
    assert not of(FailJob, desk.tick(29))
    commands = desk.tick(1.1)
    assert isinstance(failure(commands, "s"), errors.ModelUnloaded)
    assert AbortJob(1, "s") in commands


def removed_meanwhile() -> Swaps:
    """One job runs and one waits in the old version; the new one was loading."""
    desk = Swaps()
    desk.begin("runs")
    desk.frame(1, free=-9)
    desk.job("waits")
    desk.swap()
    desk.tell(ModelRemoved("m"))
    return desk


def test_what_waits_in_a_version_removed_during_its_swap_can_be_aborted() -> None:
    desk = removed_meanwhile()
    desk.tell(JobAborted("waits", errors.InternalError("gone")))
    assert not of(Dispatch, desk.frame(1)), "it has ended"
    assert StopWorker(1) in desk.frame(1, Finished("runs"))


def test_what_waits_in_a_version_removed_during_its_swap_has_its_limit() -> None:
    desk = removed_meanwhile()
    commands = desk.tick(desk.fleet.timeouts.queue_s)
    assert isinstance(failure(commands, "waits"), errors.QueueTimeout)
    assert not of(Dispatch, desk.frame(1))


def test_a_job_that_comes_back_goes_to_a_version_that_has_served() -> None:
    desk = Swaps(replicas=2, spec={"memory_bytes": 20})
    desk.ready(2)
    for job_id in "ab":
        desk.job(job_id)
    desk.frame(1, Started("a"), free=-9)
    desk.frame(2, Started("b"), free=-9)
    desk.job("c")
    desk.swap(memory_bytes=20)
    desk.tell(ModelRemoved("m"))
    desk.die(1)
    assert [c.job.id for c in of(Dispatch, desk.frame(2, Finished("b"), free=4))] == ["a", "c"]


def test_where_only_some_replicas_fit_beside_the_old_ones_they_take_over() -> None:
    desk = Swaps(replicas=2)
    desk.tell(MemoryMeasured([Device("cpu", 120)], {}))
    desk.ready(2)
    assert of(StartWorker, desk.swap()) == [StartWorker(3, "m", "cpu", 2)]
    commands = desk.ready(3)
    assert SwitchVersion("m", 2) in commands
    assert of(StopWorker, commands) == [StopWorker(1), StopWorker(2)]
    assert of(StartWorker, desk.die(1)) == [StartWorker(4, "m", "cpu", 2)]


def test_a_failed_swap_brings_no_surplus_worker_back() -> None:
    desk = Swaps(replicas=2, spec={"memory_bytes": 20})
    desk.ready(2)
    for worker_id, job_id in enumerate("ab", 1):
        desk.job(job_id)
        desk.frame(worker_id, Started(job_id), free=3)
    desk.swap(memory_bytes=20)
    desk.tell(ModelChanged(msgspec.structs.replace(desk.fleet.models["m"].spec, replicas=1)))
    desk.die(3)
    assert [worker.state for worker in desk.fleet.workers.values()] == ["ready", "draining"]


def test_a_failed_replacement_brings_no_surplus_worker_back() -> None:
    desk = Swaps(replicas=2, spec={"memory_bytes": 40}, queue_s=5.0, load_s=7.0)
    desk.ready(2)
    for worker_id, job_id in enumerate("ab", 1):
        desk.job(job_id)
        desk.frame(worker_id, Started(job_id), free=3)
    desk.swap(memory_bytes=70, strategy="replace")
    desk.tell(ModelChanged(msgspec.structs.replace(desk.fleet.models["m"].spec, replicas=1)))
    assert of(FailSwap, desk.tick(12.1))
    assert [worker.state for worker in desk.fleet.workers.values()] == ["ready", "draining"]


@pytest.mark.parametrize("strategy", ["alongside", "replace"])
def test_a_failed_swap_brings_back_nothing_that_was_unloaded_meanwhile(strategy: str) -> None:
    desk = Swaps(queue_s=5.0, load_s=7.0)
    desk.begin("a")
    desk.swap(strategy=strategy)
    desk.tell(UnloadAsked("m"))
    assert of(FailSwap, desk.tick(12.1) or desk.die(2))
    assert StopWorker(1) in desk.frame(1, Finished("a"))


def test_a_pin_on_request_holds_for_the_new_version() -> None:
    desk = Swaps(idle_ttl_s=10.0)
    desk.tell(ModelWanted("m", pinned=True))
    desk.swap()
    desk.ready(2)
    assert desk.fleet.models["m"].pinned
    assert not of(StopWorker, desk.tick(100))


def test_a_pin_that_was_taken_back_does_not_come_back() -> None:
    desk = Swaps(idle_ttl_s=10.0, spec=HALF | {"pinned": True})
    desk.tell(ModelWanted("m", pinned=False))
    desk.swap()
    desk.ready(2)
    assert of(StopWorker, desk.tick(10.1)) == [StopWorker(2)]


def test_a_pin_of_the_new_settings_counts() -> None:
    desk = Swaps()
    spec = msgspec.structs.replace(desk.fleet.models["m"].spec, note="new", pinned=True)
    desk.tell(SwapAsked(spec, 2, SMALL))
    desk.ready(2)
    assert desk.fleet.models["m"].pinned


def test_a_new_version_that_is_not_loaded_knows_that_the_old_one_once_was() -> None:
    desk = Swaps()
    desk.tell(UnloadAsked("m"))
    desk.die(1)
    desk.fleet.models["m"].left_out = True
    desk.swap(only_if_loaded=True)
    model = desk.fleet.models["m"]
    assert (model.version, model.load_s, model.left_out) == (2, 1.0, True)


def test_the_idle_time_goes_on_after_a_replacement_that_failed() -> None:
    desk = Swaps(queue_s=5.0, load_s=7.0, idle_ttl_s=10.0)
    desk.begin("a")
    desk.swap(memory_bytes=70, strategy="replace")
    assert not of(FailSwap, desk.tick(11))
    desk.frame(1)
    assert of(FailSwap, desk.tick(1.1))
    desk.frame(1, Finished("a"))
    desk.tick(9)
    assert StopWorker(1) in desk.tick(1.1)
