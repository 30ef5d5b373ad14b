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
    JobArrived,
    ModelRemoved,
    ModelWanted,
    ReplayJob,
    SendInput,
    StartWorker,
    StopWorker,
    SwapAsked,
    SwitchVersion,
)
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
