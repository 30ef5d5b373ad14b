"""Which workers start, and which leave for them."""

from backends.protocol import (
    Description,
    Finished,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    Dispatch,
    MemoryMeasured,
    ModelDescribed,
    ModelWanted,
    StartWorker,
    StopWorker,
)
from gateway.engine.placement import Device
from tests.unit.gateway.engine.desk import DESCRIPTION, Desk, failure, of


def test_a_cold_model_is_started_once_and_gets_its_jobs_when_ready() -> None:
    desk = Desk()
    assert desk.job("a") == [StartWorker(1, "m", "cpu")]
    assert desk.job("b") == []
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["a", "b"]


class TestRoom:
    def test_an_idle_model_is_evicted_and_the_newcomer_waits_for_its_end(self) -> None:
        desk = Desk("a", "b")
        desk.tell(ModelWanted("a"))
        desk.ready(1)
        assert desk.job("x", "b") == [StopWorker(1)]
        assert desk.job("y", "b") == []
        assert desk.die(1) == [StartWorker(2, "b", "cpu")]
        assert not desk.fleet.models["a"].deaths, "an eviction is no fault"

    def test_nobody_leaves_for_what_is_wanted_gently_before_it_is_asked_for(self) -> None:
        desk = Desk("a", "b")
        desk.tell(ModelWanted("a", gently=True))
        desk.ready(1)
        assert not desk.tell(ModelWanted("b", gently=True))
        assert desk.fleet.models["b"].left_out
        assert not desk.tick(600.0)
        assert desk.job("x", "b") == [StopWorker(1)]

    def test_what_is_pinned_makes_room_for_itself(self) -> None:
        desk = Desk("a", "b", spec={"pinned": True})
        desk.tell(ModelWanted("a", pinned=False))
        desk.ready(1)
        assert desk.tell(ModelWanted("b", gently=True)) == [StopWorker(1)]

    def test_a_busy_model_is_waited_for(self) -> None:
        desk = Desk("a", "b")
        desk.job("x", "a")
        desk.ready(1)
        desk.frame(1, Started("x"))
        assert desk.job("y", "b") == []
        assert StopWorker(1) in desk.frame(1, Finished("x"))

    def test_what_never_fits_is_refused(self) -> None:
        desk = Desk()
        desk.tell(ModelDescribed("m", Description(["generate"], [], memory_bytes=200)))
        assert isinstance(failure(desk.job("a"), "a"), errors.NoRoom)

    def test_one_measurement_above_the_budget_does_not_end_a_model(self) -> None:
        desk = Desk()
        desk.tell(ModelWanted("m"))
        desk.ready(1)
        over = MemoryMeasured([Device("cpu", 100)], {1: {"cpu": 107}})
        assert desk.tell(over) == [StopWorker(1)]
        desk.die(1)
        assert desk.job("a") == [StartWorker(2, "m", "cpu")]

    def test_what_was_learned_above_the_budget_in_earlier_runs_does_not_either(self) -> None:
        desk = Desk()
        desk.tell(ModelDescribed("m", DESCRIPTION, {"cpu": 107}))
        assert desk.job("a") == [StartWorker(1, "m", "cpu")]

    def test_a_kept_model_that_found_no_room_is_tried_again_by_itself(self) -> None:
        desk = Desk(devices=[Device("cpu", 50)])
        desk.tell(ModelWanted("m", pinned=True))
        assert desk.fleet.models["m"].state(desk.now) == "failed"
        desk.tell(MemoryMeasured([Device("cpu", 100)], {}))
        assert desk.tick(30.0) == []
        assert desk.tick(30.0) == [StartWorker(1, "m", "cpu")]

    def test_a_kept_model_is_loaded_once_those_that_never_leave_have_left(self) -> None:
        desk = Desk("a", "b")
        desk.tell(ModelWanted("a", pinned=True))
        desk.ready(1)
        desk.tell(ModelWanted("b"))
        assert isinstance(failure(desk.job("x", "b"), "x"), errors.NoRoom)
        desk.tell(ModelWanted("a", pinned=False))
        assert desk.tell(measured(100)) == [StopWorker(1)]
        assert desk.die(1) == [StartWorker(2, "b", "cpu")]


def measured(budget: int, full: int = 100) -> MemoryMeasured:
    """Other processes hold the rest."""
    return MemoryMeasured([Device("cpu", budget, full)], {})


class TestOtherProcesses:
    def test_a_short_rise_of_what_they_hold_is_waited_for(self) -> None:
        desk = Desk()
        desk.tell(measured(50))
        assert desk.job("a") == []
        assert desk.tick(5.0) == []
        assert desk.tell(measured(100)) == [StartWorker(1, "m", "cpu")]

    def test_it_is_not_waited_for_long(self) -> None:
        desk = Desk()
        desk.tell(measured(50))
        desk.job("a")
        error = failure(desk.tick(10.0), "a")
        assert isinstance(error, errors.NoRoom)
        assert error.message.endswith("beside what other processes hold.")
        assert not desk.fleet.wants_room
        assert desk.fleet.models["m"].state(desk.now) == "cold", "the next request may find it gone"

    def test_who_waits_for_them_holds_up_nobody(self) -> None:
        desk = Desk("a", "b", "c")
        desk.tell(ModelDescribed("c", Description(["generate"], [], memory_bytes=40)))
        desk.job("x", "a")
        desk.ready(1)
        desk.frame(1, Started("x"))
        desk.job("y", "b")
        desk.tick(5.0)
        desk.tell(measured(40))
        assert not desk.fleet.wants_room["b", 1].victims
        desk.frame(1, Finished("x"))
        desk.die(1)
        assert desk.job("z", "c") == [StartWorker(2, "c", "cpu")]

    def test_a_kept_model_is_loaded_when_they_have_gone(self) -> None:
        desk = Desk()
        desk.tell(measured(50))
        desk.tell(ModelWanted("m", pinned=True))
        desk.tick(600.0)
        assert desk.tell(measured(50)) == []
        assert desk.tell(measured(100)) == [StartWorker(1, "m", "cpu")]
