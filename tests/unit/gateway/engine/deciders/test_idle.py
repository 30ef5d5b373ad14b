"""Workers that have had nothing to do for long, and loads that nobody waits for."""

from typing import Any

import msgspec

from backends.protocol import Finished, Started
from gateway.engine import errors
from gateway.engine.events import JobAborted, ModelChanged, ModelWanted, StartWorker, StopWorker
from tests.unit.gateway.engine.desk import Desk, of

GONE = errors.InternalError("gone")


def idle(**settings: Any) -> Desk:
    desk = Desk(**settings)
    desk.tell(ModelWanted("m"))
    desk.ready(1)
    return desk


def test_an_idle_worker_stops_after_its_time_and_comes_back_on_demand() -> None:
    desk = idle(idle_ttl_s=10.0)
    assert not desk.tick(9.9)
    assert desk.tick(0.2) == [StopWorker(1)]
    assert not of(StartWorker, desk.die(1))
    assert of(StartWorker, desk.job("a"))


def test_work_begins_the_time_anew() -> None:
    desk = idle(idle_ttl_s=10.0)
    desk.now += 8
    desk.job("a")
    desk.frame(1, Started("a"))
    assert not of(StopWorker, desk.tick(4)), "it works"
    desk.frame(1, Finished("a"))
    assert not of(StopWorker, desk.tick(9.5))
    assert of(StopWorker, desk.tick(0.6)) == [StopWorker(1)]


def test_without_a_limit_it_stays() -> None:
    assert not idle().tick(1e6)


def test_a_model_has_its_own_limit() -> None:
    assert not idle(idle_ttl_s=10.0, spec={"idle_ttl_s": 0.0}).tick(1e6)
    assert idle(idle_ttl_s=10.0, spec={"idle_ttl_s": 2.0}).tick(2.1) == [StopWorker(1)]


def test_a_pinned_model_stays() -> None:
    assert not idle(idle_ttl_s=10.0, spec={"pinned": True}).tick(1e6)


def test_a_model_that_is_no_longer_pinned_may_go() -> None:
    desk = idle(idle_ttl_s=10.0, spec={"pinned": True})
    desk.tick(100)
    desk.tell(ModelWanted("m", pinned=False))
    assert desk.tick(0.1) == [StopWorker(1)]


def test_a_shorter_limit_counts_at_once() -> None:
    desk = idle(idle_ttl_s=100.0)
    desk.tick(5)
    spec = msgspec.structs.replace(desk.fleet.models["m"].spec, idle_ttl_s=10.0)
    desk.tell(ModelChanged(spec))
    assert desk.tick(5.1) == [StopWorker(1)]


def test_only_one_deadline_goes_on_after_the_limit_got_shorter() -> None:
    desk = idle(idle_ttl_s=100.0)
    desk.tell(ModelChanged(msgspec.structs.replace(desk.fleet.models["m"].spec, idle_ttl_s=10.0)))
    desk.job("a")
    desk.frame(1, Started("a"))
    for _ in range(30):
        desk.frame(1)
        desk.tick(10)
    idle_checks = [subject for _, kind, subject in desk.fleet.timers._heap if kind == "idle"]
    assert idle_checks == ["1"]


def test_a_load_that_nobody_waits_for_is_given_up() -> None:
    desk = Desk()
    desk.job("a")
    desk.job("b")
    assert not of(StopWorker, desk.tell(JobAborted("a", GONE)))
    assert of(StopWorker, desk.tell(JobAborted("b", GONE))) == [StopWorker(1)]
    assert not of(StartWorker, desk.die(1))
    assert not desk.fleet.models["m"].deaths


def test_a_load_that_is_wanted_goes_on() -> None:
    desk = Desk()
    desk.job("a")
    desk.tell(ModelWanted("m"))
    assert not of(StopWorker, desk.tell(JobAborted("a", GONE)))


def test_a_load_goes_on_after_clients_were_told_to_come_again() -> None:
    desk = Desk(queue_s=5.0)
    desk.job("a")
    assert not of(StopWorker, desk.tick(5.1))


def test_room_is_not_made_for_what_nobody_waits_for() -> None:
    desk = Desk("a", "b")
    desk.job("x", "a")
    desk.ready(1)
    desk.frame(1, Started("x"))
    desk.job("y", "b")
    desk.tell(JobAborted("y", GONE))
    assert not of(StopWorker, desk.frame(1, Finished("x")))
