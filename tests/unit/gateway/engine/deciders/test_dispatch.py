"""Which waiting job goes to which worker."""

from backends.protocol import (
    Finished,
    Started,
)
from config.schema import ModelSpec
from gateway.engine.deciders.dispatch import LOOK_AHEAD_ITEMS
from gateway.engine.events import (
    Dispatch,
    StartWorker,
)
from tests.unit.gateway.engine.desk import Desk, of


def test_no_more_is_sent_than_fits_and_a_little_ahead() -> None:
    desk = Desk(queue=50)
    for i in range(20):
        desk.job(str(i))
    assert len(of(Dispatch, desk.ready(1, free=4))) == 4 + LOOK_AHEAD_ITEMS
    assert not of(Dispatch, desk.frame(1, Started("0"), free=3, queued=5, received=6)), "enough lies there"
    assert len(of(Dispatch, desk.frame(1, Finished("0"), free=3, queued=2, received=6))) == 3


def test_every_answer_takes_a_place() -> None:
    desk = Desk(queue=50)
    for i in range(20):
        desk.job(str(i), items=2, answers=3)
    sent = of(Dispatch, desk.ready(1, free=16))
    assert len(sent) == -(-(16 + LOOK_AHEAD_ITEMS) // 6)


def test_what_is_on_its_way_counts() -> None:
    desk = Desk(queue=50)
    desk.job("0")
    desk.ready(1, free=1)
    for i in range(1, 9):
        desk.job(str(i))
    assert not of(Dispatch, desk.frame(1, free=1, received=0)), "three are on their way"


def test_replicas_share_by_free_room() -> None:
    desk = Desk(replicas=2)
    desk.fleet.models["m"].spec = ModelSpec(
        name="m", backend="fake", tasks=["generate"], source="x", replicas=2, memory_bytes=10
    )
    assert of(StartWorker, desk.job("a")) == [StartWorker(1, "m", "cpu")]
    assert of(StartWorker, desk.job("b")) == [StartWorker(2, "m", "cpu")]
    desk.ready(1, free=2)
    desk.ready(2, free=4)
    assert [c.worker_id for c in of(Dispatch, desk.job("c"))] == [2]


def test_a_job_goes_with_the_class_that_it_has_risen_to() -> None:
    desk = Desk(ageing_s=5.0)
    desk.job("patient", priority=-1)
    desk.now += 6
    assert [c.job.priority for c in of(Dispatch, desk.ready(1))] == [0]


def test_none_lies_ahead_that_would_pass_a_lower_class_for_ever() -> None:
    """The worker lets the higher class pass; the gateway sends it none while a lower one waits there."""
    desk = Desk(queue=50)
    desk.job("running")
    desk.ready(1, free=1)
    desk.frame(1, Started("running"), free=0)
    assert of(Dispatch, desk.job("batch", priority=-1))
    assert not of(Dispatch, desk.job("interactive", priority=1))
    assert not of(Dispatch, desk.frame(1, free=0, queued=1))
    commands = desk.frame(1, Finished("running"), Started("batch"), free=0)
    assert [c.job.id for c in of(Dispatch, commands)] == ["interactive"]


def test_higher_priority_goes_first() -> None:
    desk = Desk()
    desk.job("low")
    desk.job("high", priority=5)
    assert [c.job.id for c in of(Dispatch, desk.ready(1))] == ["high", "low"]
