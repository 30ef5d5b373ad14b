"""Which workers start, and which leave for them."""

from backends.protocol import (
    Description,
    Finished,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    Dispatch,
    ModelDescribed,
    ModelWanted,
    StartWorker,
    StopWorker,
)
from tests.unit.gateway.engine.desk import Desk, failure, of


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
