"""What the death of a worker means."""

import pytest

from backends.protocol import (
    Delta,
    Finished,
    ItemDone,
    Started,
)
from gateway.engine import errors
from gateway.engine.events import (
    Dispatch,
    FailJob,
    ModelWanted,
    ReplayJob,
    StartWorker,
)
from gateway.engine.suspects import KEPT_S
from tests.unit.gateway.engine.desk import RESULT, Desk, failure, of


class TestDeath:
    def test_unstarted_jobs_are_queued_again_in_order(self) -> None:
        desk = Desk()
        desk.job("a")
        desk.job("b")
        desk.ready(1)
        assert not of(FailJob, desk.die(1))
        desk.tick(1.0)
        assert [c.job.id for c in of(Dispatch, desk.ready(2))] == ["a", "b"]

    def test_a_stream_that_has_begun_fails(self) -> None:
        desk = Desk()
        desk.job("a")
        desk.ready(1)
        desk.frame(1, Started("a"), Delta("a", 0, "x"))
        assert isinstance(failure(desk.die(1), "a"), errors.WorkerDied)

    @pytest.mark.parametrize("stream", [True, False])
    def test_a_started_job_that_nobody_has_seen_is_replayed_once(self, stream: bool) -> None:
        desk = Desk()
        desk.job("a", stream=stream)
        desk.ready(1)
        desk.frame(1, Started("a"))
        if not stream:
            desk.frame(1, ItemDone("a", 0, RESULT))
        assert ReplayJob("a") in desk.die(1)
        desk.tick(1.0)
        desk.ready(2)
        desk.frame(2, Started("a"))
        error = failure(desk.die(2), "a")
        assert isinstance(error, errors.PoisonRequest)
        assert error.should_retry is False

    def test_what_has_killed_two_workers_is_refused_as_a_new_job_too(self) -> None:
        desk = Desk()
        for job_id, worker_id in (("a", 1), ("b", 2)):
            desk.job(job_id)
            desk.ready(worker_id)
            desk.frame(worker_id, Started(job_id), Delta(job_id, 0, "x"))
            desk.job("waits", prompt="something else")
            error = failure(desk.die(worker_id), job_id)
            desk.tick(2.0)
        assert isinstance(error, errors.PoisonRequest)
        assert isinstance(failure(desk.job("c"), "c"), errors.PoisonRequest)
        assert "waits" in desk.fleet.jobs
        desk.tick(KEPT_S)
        assert not of(FailJob, desk.job("d")), "it may be tried again after a while"

    def test_those_that_wait_with_the_same_content_are_refused_with_it(self) -> None:
        desk = Desk()
        for job_id in "abcdefgh":
            desk.job(job_id, stream=False)
        for worker_id in (1, 2):
            desk.ready(worker_id, free=1)
            desk.frame(worker_id, Started("a"), free=0)
            commands = desk.die(worker_id)
            desk.tick(2.0)
        assert {c.job_id for c in of(FailJob, commands)} == set("abcdefgh")
        assert {type(c.error) for c in of(FailJob, commands)} == {errors.PoisonRequest}

    def test_an_answer_that_comes_to_its_end_acquits(self) -> None:
        desk = Desk()
        desk.job("a")
        desk.ready(1)
        desk.frame(1, Started("a"), Delta("a", 0, "x"))
        desk.die(1)
        desk.tick(2.0)
        desk.job("b")
        desk.ready(2)
        desk.frame(2, Started("b"), Finished("b"))
        desk.job("c")
        desk.frame(2, Started("c"), Delta("c", 0, "x"))
        assert isinstance(failure(desk.die(2), "c"), errors.WorkerDied)

    def test_who_was_there_when_a_worker_died_goes_one_by_one(self) -> None:
        """Of three that shared a worker, one kills again: nobody else is convicted with it."""
        desk = Desk()
        for job_id in ("innocent", "guilty", "another"):
            desk.job(job_id, prompt=job_id, stream=False)
        desk.ready(1)
        desk.frame(1, Started("innocent"), Started("guilty"), Started("another"))
        desk.job("new", prompt="new", stream=False)
        desk.die(1)
        desk.tick(1.0)
        assert [c.job.id for c in of(Dispatch, desk.ready(2))] == ["innocent", "new"]
        commands = desk.frame(2, Started("innocent"), Started("new"), Finished("innocent"))
        assert [c.job.id for c in of(Dispatch, commands)] == ["guilty"]
        desk.frame(2, Started("guilty"))
        commands = desk.die(2)
        assert [c.job_id for c in of(FailJob, commands)] == ["guilty"]
        desk.tick(2.0)
        assert [c.job.id for c in of(Dispatch, desk.ready(3))] == ["another"]
        commands = desk.frame(3, Started("another"), Finished("another"))
        assert [c.job.id for c in of(Dispatch, commands)] == ["new"]

    def test_one_that_waits_again_has_a_limit_again(self) -> None:
        """It ran for longer than the limit of the queue when its worker died, and none comes any more."""
        desk = Desk(queue_s=5.0, load_s=500.0)
        desk.job("a", stream=False, timeout_s=600.0)
        desk.ready(1)
        desk.frame(1, Started("a"))
        desk.tick(20.0)
        desk.die(1)
        assert not of(FailJob, desk.tick(4.9)), "another worker is on its way"
        assert isinstance(failure(desk.tick(0.2), "a"), errors.QueueTimeout)

    def test_the_last_lines_of_a_dead_worker_are_kept_until_one_is_ready(self) -> None:
        desk = Desk()
        desk.tell(ModelWanted("m"))
        desk.die(1, stderr=["it broke"])
        assert desk.fleet.models["m"].last_stderr == ["it broke"]
        desk.tick(1.0)
        desk.ready(2)
        assert not desk.fleet.models["m"].last_stderr

    def test_two_deaths_from_outside_do_not_blame_the_request(self) -> None:
        desk = Desk()
        desk.job("a", stream=False)
        for worker_id in (1, 2):
            desk.ready(worker_id)
            desk.frame(worker_id, Started("a"))
            commands = desk.die(worker_id, external=True)
            desk.tick(2.0)
        error = failure(commands, "a")
        assert isinstance(error, errors.WorkerDied)
        assert error.retry_after_s

    def test_back_off_doubles_and_five_deaths_fail_the_model(self) -> None:
        desk = Desk()
        desk.job("a")
        waits = []
        for worker_id in range(1, 5):
            assert not of(StartWorker, desk.die(worker_id))
            wake = desk.fleet.models["m"].retry_at
            waits.append(wake - desk.now)
            assert of(StartWorker, desk.tick(wake - desk.now)) == [StartWorker(worker_id + 1, "m", "cpu")]
        assert waits == [1, 2, 4, 8]
        assert isinstance(failure(desk.die(5), "a"), errors.ModelFailed)
        error = failure(desk.job("b"), "b")
        assert isinstance(error, errors.ModelFailed)
        assert error.retry_after_s == 60
        assert of(StartWorker, [*desk.tick(61), *desk.job("c")]), "tried again after the cool-down"

    def test_the_first_death_of_one_that_had_served_is_no_loop(self) -> None:
        desk = Desk()
        desk.job("a", stream=False)
        desk.ready(1)
        assert of(StartWorker, desk.die(1)) == [StartWorker(2, "m", "cpu")]
        desk.ready(2)
        assert not of(StartWorker, desk.die(2))
        assert desk.fleet.models["m"].retry_at == desk.now + 2

    def test_old_deaths_are_forgotten(self) -> None:
        desk = Desk()
        desk.tell(ModelWanted("m"))
        for worker_id in range(1, 8):
            desk.ready(worker_id)
            desk.die(worker_id)
            desk.tick(61)
        assert desk.fleet.models["m"].state(desk.now) == "starting"

    @pytest.mark.parametrize(
        ("kind", "expected"), [("invalid_model", errors.ModelFailed), ("out_of_memory", errors.NoRoom)]
    )
    def test_a_load_that_cannot_work_fails_at_once(
        self, kind: str, expected: type[errors.GatewayError]
    ) -> None:
        desk = Desk()
        desk.job("a")
        assert isinstance(failure(desk.die(1, kind=kind), "a"), expected)
        assert isinstance(failure(desk.job("b"), "b"), expected)
