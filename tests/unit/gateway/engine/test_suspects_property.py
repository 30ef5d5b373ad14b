"""Whoever kills workers is found at the second death, and finds nobody else guilty with it."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.protocol import Finished, Started
from gateway.engine import errors
from gateway.engine.events import Command, Dispatch, FailJob, ModelWanted, StartWorker
from gateway.engine.placement import Device
from tests.unit.gateway.engine.desk import Desk, of

PLACES = 4


class Court:
    """A model whose workers run jobs side by side, and die while they run one of the `guilty`."""

    def __init__(self, replicas: int, guilty: set[str], chance: random.Random) -> None:
        self.desk = Desk(replicas=replicas, queue=1000, devices=[Device("cpu", 1000)], queue_s=10_000.0)
        self.guilty, self.chance = guilty, chance
        self.deaths: dict[str, int] = dict.fromkeys(guilty, 0)
        self.convicted: set[str] = set()
        self.running: dict[int, list[str]] = {}
        self._do(self.desk.tell(ModelWanted("m")))

    def ask(self, job_id: str) -> None:
        self._do(self.desk.job(job_id, prompt=job_id, stream=self.chance.random() < 0.5, timeout_s=20_000.0))

    def run(self) -> None:
        """Until nothing is open."""
        for _ in range(10_000):
            if not self.desk.fleet.jobs:
                return
            self.desk.now += 1
            busy = [worker_id for worker_id, jobs in self.running.items() if jobs]
            if busy:
                self._go_on(self.chance.choice(busy))
            else:
                self._do(self.desk.tick(60))
        raise AssertionError(f"{list(self.desk.fleet.jobs)} wait for ever")

    def _go_on(self, worker_id: int) -> None:
        """One of its jobs comes to its end, or kills it."""
        jobs = self.running[worker_id]
        job_id = self.chance.choice(jobs)
        if job_id in self.guilty:
            self.deaths[job_id] += 1
            del self.running[worker_id]
            before = set(self.convicted)
            self._do(self.desk.die(worker_id))
            if self.deaths[job_id] == 2:
                assert self.convicted - before == {job_id}
        else:
            jobs.remove(job_id)
            self._do(self.desk.frame(worker_id, Finished(job_id), free=PLACES - len(jobs)))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case FailJob(job_id, errors.PoisonRequest()):
                    self.convicted.add(job_id)
                case StartWorker(worker_id):
                    self.running[worker_id] = []
                    self._do(self.desk.ready(worker_id, free=PLACES))
        for dispatch in of(Dispatch, commands):
            if dispatch.worker_id in self.running:
                self.running[dispatch.worker_id].append(dispatch.job.id)
                self._do(self.desk.frame(dispatch.worker_id, Started(dispatch.job.id), free=0))
        self._check()

    def _check(self) -> None:
        fleet, now = self.desk.fleet, self.desk.now
        for worker in fleet.workers.values():
            suspects = [e.job.id for e in worker.jobs.values() if fleet.suspects.suspected(e, now)]
            assert len(suspects) <= 1, f"{suspects} run beside each other"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2), st.integers(0, 30), st.integers(0, 2), st.integers(0, 10_000))
def test_the_guilty_are_found_at_the_second_death(replicas: int, sound: int, guilty: int, seed: int) -> None:
    chance = random.Random(seed)
    names = [f"sound{i}" for i in range(sound)] + [f"guilty{i}" for i in range(guilty)]
    chance.shuffle(names)
    court = Court(replicas, {name for name in names if name.startswith("guilty")}, chance)
    for name in names:
        court.ask(name)
    court.run()
    assert max(court.deaths.values(), default=0) <= 2
    if guilty == 1:
        assert court.convicted == court.guilty
