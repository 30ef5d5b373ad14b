"""Who waits for room, in what order, and who must make it."""

from typing import Any

import msgspec

from backends.protocol import Description, Finished, Job, SessionParameters, Started
from gateway.engine import errors
from gateway.engine.events import (
    Command,
    Dispatch,
    JobAborted,
    JobArrived,
    MemoryMeasured,
    MemoryReturned,
    ModelDescribed,
    ModelWanted,
    StartWorker,
    StopWorker,
)
from gateway.engine.placement import Device, Share
from tests.unit.gateway.engine.desk import Desk, failure, of


def respec(desk: Desk, model: str, **more: Any) -> None:
    held = desk.fleet.models[model]
    held.pinned = more.get("pinned", held.pinned)
    held.spec = msgspec.structs.replace(held.spec, **more)


def loaded(desk: Desk, worker_id: int, model: str) -> None:
    desk.tell(ModelWanted(model))
    desk.ready(worker_id)


def begin(desk: Desk, worker_id: int, job_id: str, model: str) -> None:
    desk.job(job_id, model)
    desk.frame(worker_id, Started(job_id))


def crowd(desk: Desk, worker_id: int, model: str, job_ids: str, **more: Any) -> None:
    """A worker that runs one job at a time, three of these with it, and the others in the queue."""
    desk.tell(ModelWanted(model))
    desk.ready(worker_id, free=1)
    for job_id in job_ids:
        desk.job(job_id, model, **more)
    desk.frame(worker_id, Started(job_ids[0]), free=0, queued=2)


def measured(desk: Desk, budget: int = 100, **held: int) -> list[Command]:
    by_worker = {int(name[1:]): {"cpu": size} for name, size in held.items()}
    return desk.tell(MemoryMeasured([Device("cpu", budget)], by_worker))


class TestTurns:
    def test_a_model_that_has_just_come_stays_for_a_while(self) -> None:
        desk = Desk("a", "b", residency=10)
        loaded(desk, 1, "a")
        assert desk.job("x", "b") == []
        assert desk.tick(9.9) == []
        assert desk.tick(0.2) == [StopWorker(1)]

    def test_one_that_is_kept_never_leaves(self) -> None:
        desk = Desk("a", "b")
        respec(desk, "a", pinned=True)
        loaded(desk, 1, "a")
        assert isinstance(failure(desk.job("x", "b"), "x"), errors.NoRoom)

    def test_a_busy_model_goes_on_for_a_while_and_then_takes_no_more(self) -> None:
        desk = Desk("a", "b", yield_after=5)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        assert of(Dispatch, desk.job("2", "a"))
        desk.tick(5)
        assert desk.job("3", "a") == [], "its turn is over"
        assert desk.frame(1, Finished("1"), Started("2"))
        assert StopWorker(1) in desk.frame(1, Finished("2"))
        assert of(StartWorker, desk.die(1)) == [StartWorker(2, "b", "cpu")]
        desk.ready(2)
        desk.frame(2, Started("x"))
        assert StopWorker(2) in desk.frame(2, Finished("x")), "and back again"
        desk.die(2)
        assert [c.job.id for c in of(Dispatch, desk.ready(3))] == ["3"]

    def test_jobs_that_have_waited_longer_go_before_the_turn_of_others(self) -> None:
        desk = Desk("a", "b", yield_after=5)
        crowd(desk, 1, "a", "1234")
        desk.tick(1)
        desk.job("x", "b")
        desk.job("5", "a")
        desk.tick(6)
        commands = desk.frame(1, Finished("1"), Started("2"), free=0, queued=1)
        assert [c.job.id for c in of(Dispatch, commands)] == ["4"], "it came before x"
        desk.tick(1)
        assert not of(Dispatch, desk.frame(1, Finished("2"), Started("3"), free=0, queued=1)), (
            "5 came after x"
        )

    def test_jobs_of_a_lower_class_hold_up_nobody(self) -> None:
        desk = Desk("a", "b", yield_after=5)
        crowd(desk, 1, "a", "1234", priority=-1)
        desk.tick(1)
        desk.job("x", "b", priority=1)
        desk.tick(6)
        assert not of(Dispatch, desk.frame(1, Finished("1"), Started("2"), free=0, queued=1))

    def test_whoever_yields_goes_on_when_nobody_waits_any_more(self) -> None:
        desk = Desk("a", "b", yield_after=5)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        desk.tick(5)
        assert desk.job("2", "a") == []
        commands = desk.tell(JobAborted("x", errors.InternalError("gone")))
        assert [c.job.id for c in of(Dispatch, commands)] == ["2"]
        assert not desk.fleet.wants_room

    def test_a_wait_for_busy_models_is_bounded(self) -> None:
        desk = Desk("a", "b", queue_s=20.0)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        desk.tick(10)
        error = failure(desk.tick(11), "x")
        assert isinstance(error, errors.NoRoom)
        assert error.retry_after_s
        assert of(Dispatch, desk.job("2", "a")), "nobody waits for its memory now"

    def test_the_first_that_waits_has_the_first_claim(self) -> None:
        desk = Desk("a", "b", "c")
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        desk.job("y", "c")
        assert of(StopWorker, desk.frame(1, Finished("1"))) == [StopWorker(1)]
        assert desk.die(1) == [StartWorker(2, "b", "cpu")]
        desk.ready(2)
        desk.frame(2, Started("x"))
        assert of(StopWorker, desk.frame(2, Finished("x"))) == [StopWorker(2)]
        assert desk.die(2) == [StartWorker(3, "c", "cpu")]

    def test_who_finds_room_beside_the_claims_starts_at_once(self) -> None:
        desk = Desk("a", "b", "c")
        respec(desk, "c", memory_bytes=40)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        assert desk.job("y", "c") == [StartWorker(2, "c", "cpu")]

    def test_a_second_replica_holds_up_nobody(self) -> None:
        desk = Desk("a", "b", replicas=2)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("2", "a")
        assert not desk.fleet.wants_room

    def test_a_model_without_jobs_waits_for_idle_ones_only(self) -> None:
        desk = Desk("a", "b", yield_after=5)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.tell(ModelWanted("b"))
        desk.tick(6)
        assert of(Dispatch, desk.job("2", "a"))
        assert of(StopWorker, desk.frame(1, Finished("1"), Finished("2"))) == [StopWorker(1)]


class TestMeasured:
    def test_what_a_worker_holds_beyond_its_prediction_is_taken(self) -> None:
        desk = Desk("a", "b")
        respec(desk, "b", memory_bytes=40)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        measured(desk, w1=70)
        assert desk.job("x", "b") == []
        assert desk.fleet.models["a"].learned_bytes == {"cpu": 70}

    def test_what_was_predicted_stays_set_aside(self) -> None:
        desk = Desk("a", "b")
        respec(desk, "b", memory_bytes=41)
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        measured(desk, w1=10)
        assert desk.job("x", "b") == []

    def test_a_later_load_is_predicted_by_what_was_learned(self) -> None:
        desk = Desk()
        desk.tell(ModelDescribed("m", Description(["generate"], [], memory_bytes=60), {"cpu": 90}))
        desk.job("x")
        assert desk.fleet.workers[1].shares == (Share("cpu", 90),)

    def test_a_person_knows_better(self) -> None:
        desk = Desk()
        respec(desk, "m", memory_bytes=20)
        desk.tell(ModelDescribed("m", Description(["generate"], [], memory_bytes=60), {"cpu": 90}))
        desk.job("x")
        assert desk.fleet.workers[1].shares == (Share("cpu", 20),)

    def test_idle_models_leave_when_others_take_the_memory(self) -> None:
        desk = Desk("a", "b", residency=10)
        for number, model in enumerate(("a", "b"), 1):
            respec(desk, model, memory_bytes=40)
            loaded(desk, number, model)
        begin(desk, 2, "1", "b")
        assert measured(desk, 50, w1=30, w2=30) == [], "both have just come"
        desk.tick(11)
        assert measured(desk, 50, w1=30, w2=30) == [StopWorker(1)]
        assert measured(desk, 50, w1=30, w2=30) == [], "one that leaves is enough"

    def test_more_room_is_used_at_once(self) -> None:
        desk = Desk("a", "b")
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        assert of(StartWorker, measured(desk, 120)) == [StartWorker(2, "b", "cpu")]


class TestBack:
    def test_the_next_load_waits_until_the_memory_is_back(self) -> None:
        desk = Desk("a", "b")
        loaded(desk, 1, "a")
        desk.job("x", "b")
        assert desk.die(1, memory_back=False) == []
        assert desk.tell(MemoryReturned(1)) == [StartWorker(2, "b", "cpu")]
        assert desk.fleet.unreturned == 0

    def test_memory_that_does_not_come_back_is_counted(self) -> None:
        desk = Desk("a")
        loaded(desk, 1, "a")
        desk.die(1, memory_back=False)
        desk.tell(MemoryReturned(1, in_time=False))
        assert desk.fleet.unreturned == 1
        assert not desk.fleet.returning


class TestLoadWithoutMemory:
    def small(self) -> Desk:
        desk = Desk("a", "b")
        for model in ("a", "b"):
            respec(desk, model, memory_bytes=40)
        return desk

    def test_it_is_tried_once_more_after_evicting(self) -> None:
        desk = self.small()
        loaded(desk, 1, "a")
        assert desk.job("x", "b") == [StartWorker(2, "b", "cpu")]
        assert desk.die(2, kind="out_of_memory") == [StopWorker(1)]
        assert desk.die(1) == [StartWorker(3, "b", "cpu")]
        assert isinstance(failure(desk.die(3, kind="out_of_memory"), "x"), errors.NoRoom)

    def test_with_nothing_to_evict_it_has_failed(self) -> None:
        desk = self.small()
        loaded(desk, 1, "a")
        begin(desk, 1, "1", "a")
        desk.job("x", "b")
        assert isinstance(failure(desk.die(2, kind="out_of_memory"), "x"), errors.NoRoom)

    def test_a_load_that_succeeds_may_be_helped_again(self) -> None:
        desk = self.small()
        loaded(desk, 1, "a")
        desk.job("x", "b")
        desk.die(2, kind="out_of_memory")
        desk.die(1)
        desk.ready(3)
        assert not desk.fleet.models["b"].cramped


def test_swaps_and_evictions_are_counted() -> None:
    desk = Desk("a", "b")
    loaded(desk, 1, "a")
    desk.job("x", "b")
    desk.die(1)
    desk.ready(2)
    first, second = desk.fleet.models["a"], desk.fleet.models["b"]
    assert (first.swaps, first.evictions) == (0, 1)
    assert (second.swaps, second.evictions) == (1, 0)


def test_a_split_model_is_started_with_its_shares() -> None:
    gb = 1024**3
    desk = Desk(devices=[Device("cuda:0", 30 * gb), Device("cuda:1", 30 * gb)])
    whole = Description(["generate"], [], memory_bytes=40 * gb, device_kinds=["cuda"], splits=True)
    desk.tell(ModelDescribed("m", whole))
    (start,) = desk.job("x")
    assert isinstance(start, StartWorker)
    assert start.device == "cuda:0"
    assert [share.device for share in start.shares] == ["cuda:0", "cuda:1"]


def test_what_parts_hold_predicts_no_whole() -> None:
    gb = 1024**3
    desk = Desk(devices=[Device("cuda:0", 30 * gb), Device("cuda:1", 30 * gb)])
    whole = Description(["generate"], [], memory_bytes=40 * gb, device_kinds=["cuda"], splits=True)
    desk.tell(ModelDescribed("m", whole))
    desk.job("x")
    desk.tell(MemoryMeasured(desk.fleet.devices, {1: {"cuda:0": 25 * gb, "cuda:1": 25 * gb}}))
    assert desk.fleet.models["m"].learned_bytes == {}
    assert [share.memory_bytes for share in desk.fleet.workers[1].held] == [25 * gb, 25 * gb]


def test_nobody_takes_turns_with_sessions() -> None:
    desk = Desk("a", "b", yield_after=5)
    loaded(desk, 1, "a")
    desk.tell(JobArrived(Job("s", "a", "listen", SessionParameters(), [], True), "key"))
    desk.frame(1, Started("s"))
    desk.job("x", "b")
    desk.tick(6)
    assert of(Dispatch, desk.job("1", "a")), "a session may last for an hour"
    assert of(StopWorker, desk.frame(1, Finished("s"), Started("1"), Finished("1"))) == [StopWorker(1)]


def test_a_turn_that_does_not_come_in_time_is_given_back() -> None:
    desk = Desk("a", "b", yield_after=5, queue_s=20.0)
    loaded(desk, 1, "a")
    begin(desk, 1, "long", "a")
    desk.job("x", "b")
    desk.tick(5)
    desk.tick(10)
    desk.job("y", "b")
    assert desk.job("1", "a") == []
    commands = desk.tick(10)
    assert [c.job.id for c in of(Dispatch, commands)] == ["1"], "the long one still runs"
    assert desk.fleet.wants_room, "y still waits"
    assert of(Dispatch, desk.job("2", "a"))
