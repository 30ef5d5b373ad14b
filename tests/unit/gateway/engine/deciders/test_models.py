"""What is learnt of models, and models that are wanted."""

from typing import Any

import msgspec

from backends.protocol import Failed, Finished, Started
from config.schema import ModelSpec
from gateway.engine import errors
from gateway.engine.events import (
    AbortJob,
    KillWorker,
    ModelAdded,
    ModelBroken,
    ModelChanged,
    ModelDescribed,
    ModelRemoved,
    ModelWanted,
    StartWorker,
    StopWorker,
    UnloadAsked,
)
from tests.unit.gateway.engine.desk import DESCRIPTION, Desk, failure, of


def test_a_wanted_model_is_started_without_jobs() -> None:
    assert Desk().tell(ModelWanted("m")) == [StartWorker(1, "m", "cpu")]


def test_broken_weights_are_said() -> None:
    desk = Desk()
    desk.tell(ModelBroken("m", errors.ModelFailed("pull it")))
    assert failure(desk.job("a"), "a").message == "pull it"
    desk.tell(ModelDescribed("m", DESCRIPTION))
    assert of(StartWorker, desk.job("b")), "somebody has mended it"


def wanted(**settings: Any) -> Desk:
    desk = Desk(**settings)
    desk.tell(ModelWanted("m"))
    desk.ready(1)
    return desk


class TestUnload:
    def test_an_idle_model_stops_and_comes_back_on_demand(self) -> None:
        desk = wanted()
        assert desk.tell(UnloadAsked("m")) == [StopWorker(1)]
        assert desk.fleet.models["m"].state(desk.now) == "unloading"
        assert not of(StartWorker, desk.die(1))
        assert desk.fleet.models["m"].state(desk.now) == "cold"
        assert of(StartWorker, desk.job("a"))

    def test_running_jobs_end_first(self) -> None:
        desk = wanted()
        desk.job("a")
        desk.frame(1, Started("a"))
        assert desk.tell(UnloadAsked("m")) == []
        assert StopWorker(1) in desk.frame(1, Finished("a"))

    def test_what_comes_meanwhile_loads_it_again_once_there_is_room(self) -> None:
        desk = wanted()
        desk.job("a")
        desk.frame(1, Started("a"))
        desk.tell(UnloadAsked("m"))
        assert not of(StartWorker, desk.job("b"))
        desk.frame(1, Finished("a"))
        assert of(StartWorker, desk.die(1)) == [StartWorker(2, "m", "cpu")]

    def test_force_ends_the_jobs(self) -> None:
        desk = wanted()
        desk.job("a")
        desk.frame(1, Started("a"), free=-9)
        desk.job("b")
        commands = desk.tell(UnloadAsked("m", force=True))
        assert isinstance(failure(commands, "a"), errors.ModelUnloaded)
        assert isinstance(failure(commands, "b"), errors.ModelUnloaded)
        assert AbortJob(1, "a") in commands
        assert StopWorker(1) in desk.frame(1, Failed("a", "aborted", ""))

    def test_a_load_is_stopped_unless_jobs_wait_for_it(self) -> None:
        desk = Desk()
        desk.tell(ModelWanted("m"))
        assert desk.tell(UnloadAsked("m")) == [StopWorker(1)]
        busy = Desk()
        busy.job("a")
        assert busy.tell(UnloadAsked("m")) == []

    def test_a_hung_worker_that_drains_is_killed(self) -> None:
        desk = wanted(step_s=3.0)
        desk.job("a")
        desk.frame(1, Started("a"))
        desk.tell(UnloadAsked("m"))
        assert of(KillWorker, desk.tick(3.1))

    def test_a_draining_workers_death_is_no_fault_of_the_model(self) -> None:
        desk = wanted()
        desk.job("a")
        desk.tell(UnloadAsked("m"))
        assert of(StartWorker, desk.die(1)), "the job goes on elsewhere, at once"
        assert not desk.fleet.models["m"].deaths


def test_a_person_need_not_wait_for_a_failure_to_be_forgotten() -> None:
    desk = Desk()
    desk.job("a")
    desk.die(1, kind="invalid_model")
    assert not desk.tell(ModelWanted("m"))
    assert desk.tell(ModelWanted("m", at_once=True)) == [StartWorker(2, "m", "cpu")]


def test_a_pinned_model_is_never_evicted() -> None:
    desk = Desk("a", "b")
    desk.tell(ModelWanted("a", pinned=True))
    desk.ready(1)
    assert "pinned" in failure(desk.job("x", "b"), "x").message
    desk.tell(ModelWanted("a", pinned=False))
    assert desk.job("y", "b") == [StopWorker(1)]


def test_an_added_model_is_served() -> None:
    desk = Desk("a")
    spec = ModelSpec(name="b", backend="fake", tasks=["generate"], source="x")
    desk.tell(ModelAdded(spec, 1))
    assert not of(StartWorker, desk.job("x", "b")), "it must be described first"
    assert of(StartWorker, desk.tell(ModelDescribed("b", DESCRIPTION))) == [StartWorker(1, "b", "cpu")]


def test_changed_settings_count_at_once() -> None:
    desk = wanted(spec={"memory_bytes": 20})
    spec = msgspec.structs.replace(desk.fleet.models["m"].spec, replicas=2)
    assert desk.tell(ModelChanged(spec)) == [StartWorker(2, "m", "cpu")]
    desk.ready(2)
    spec = msgspec.structs.replace(spec, replicas=1, pinned=True)
    assert desk.tell(ModelChanged(spec)) == [StopWorker(2)]
    assert desk.fleet.models["m"].pinned


def test_a_model_that_is_gone_is_no_fault() -> None:
    desk = Desk("a")
    unknown = ModelSpec(name="b", backend="fake", tasks=["generate"], source="x")
    for event in (
        ModelWanted("b"),
        UnloadAsked("b"),
        ModelRemoved("b"),
        ModelChanged(unknown),
        ModelDescribed("b", DESCRIPTION),
        ModelBroken("b", errors.ModelFailed("x")),
    ):
        assert desk.tell(event) == []
    assert isinstance(failure(desk.job("x", "b"), "x"), errors.ModelNotFound)
