"""How fast a queue is worked off."""

import pytest

from gateway.engine.pace import Pace


def test_a_few_pauses_are_needed_before_anything_is_said() -> None:
    pace = Pace()
    for now in (0.0, 2.0, 4.0, 6.0):
        pace.job_went(now, 0.0, others_wait=True)
    assert pace.pause_s(6.0) is None
    pace.job_went(8.0, 0.0, others_wait=True)
    assert pace.pause_s(8.0) == pytest.approx(2.0)


def test_time_in_which_nobody_waited_does_not_count() -> None:
    pace = Pace()
    for now in (0.0, 1.0, 2.0, 3.0):
        pace.job_went(now, 0.0, others_wait=True)
    pace.job_went(4.0, 0.0, others_wait=False)
    pace.job_went(500.0, 0.0, others_wait=True)
    assert pace.pause_s(500.0) == pytest.approx(1.0)


def test_a_job_that_came_after_the_last_one_went_tells_nothing() -> None:
    pace = Pace()
    for now in (0.0, 1.0, 2.0, 3.0, 4.0):
        pace.job_went(now, 0.0, others_wait=True)  # the one that waited at last leaves before its turn
    pace.job_went(500.0, 499.0, others_wait=True)
    assert pace.pause_s(500.0) == pytest.approx(1.0)


def test_what_was_learned_long_ago_is_not_believed() -> None:
    pace = Pace()
    for i in range(6):
        pace.job_went(50.0 * i, 0.0, others_wait=True)
    assert pace.pause_s(300.0) == pytest.approx(50.0)
    assert pace.pause_s(1000.0) is None, "whoever is refused because of it could teach nothing better"


def test_old_pauses_are_forgotten() -> None:
    pace = Pace()
    for now in range(100):
        pace.job_went(10.0 * now, 0.0, others_wait=True)
    for now in range(40):
        pace.job_went(990.0 + now, 0.0, others_wait=True)
    assert pace.pause_s(1029.0) == pytest.approx(1.0)
