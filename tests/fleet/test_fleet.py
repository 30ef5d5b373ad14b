"""Small fleets in a hurry; `make fleet` simulates a large one for longer."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fleet.fleets import fleet


@pytest.mark.parametrize("seed", range(3))
def test_every_request_is_answered_where_models_take_turns(seed: int) -> None:
    simulation = fleet(sizes_gb=[8, 12, 24], models=14, requests=600, per_s=1.0, seed=seed)
    simulation.run()
    assert not simulation.errors()
    assert max(simulation.waits()) < 300
    assert simulation.counts["stopped"] > 10, "memory does not hold them all"


def test_clients_that_leave_and_workers_that_die_hold_up_nobody() -> None:
    simulation = fleet(
        sizes_gb=[8, 24], models=10, requests=600, per_s=1.0, seed=5, crashes=0.02, leaving=0.3
    )
    simulation.run()
    assert set(simulation.errors()) <= {"WorkerDied", "PoisonRequest", "ModelFailed", "InternalError"}
    assert sum(not outcome.error for outcome in simulation.outcomes.values()) > 350


def test_an_overload_ends_by_the_deadline_of_the_queue() -> None:
    simulation = fleet(sizes_gb=[8, 12], models=20, requests=400, per_s=10.0, seed=3, queue_s=60.0)
    simulation.run()
    assert max(simulation.waits()) <= 60.0
    assert set(simulation.errors()) <= {"NoRoom", "QueueTimeout"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.integers(2, 30), min_size=1, max_size=4),
    st.integers(1, 8),
    st.integers(0, 10_000),
    st.tuples(st.sampled_from([0.0, 0.05]), st.sampled_from([0.0, 0.1])),
    st.sampled_from([0.0, 2.0]),
)
def test_whatever_the_fleet_every_request_ends_and_no_device_is_overfull(
    sizes_gb: list[int], models: int, seed: int, faults: tuple[float, float], residency_s: float
) -> None:
    crashes, out_of_memory = faults
    simulation = fleet(
        sizes_gb=sizes_gb,
        models=models,
        requests=60,
        per_s=3.0,
        seed=seed,
        crashes=crashes,
        out_of_memory=out_of_memory,
        leaving=0.2,
        min_residency_s=residency_s,
        queue_s=120.0,
    )
    simulation.run()
    assert max(simulation.waits(), default=0.0) <= 120.0 + 3600.0 * bool(crashes)
