"""How fast a queue is worked off."""

import pytest

from gateway.engine.pace import Pace


def test_a_few_pauses_are_needed_before_anything_is_said() -> None:
    pace = Pace()
    for now in (0.0, 2.0, 4.0, 6.0):
        pace.job_went(now, others_wait=True)
    assert pace.pause_s() is None
    pace.job_went(8.0, others_wait=True)
    assert pace.pause_s() == pytest.approx(2.0)


def test_time_in_which_nobody_waited_does_not_count() -> None:
    pace = Pace()
    for now in (0.0, 1.0, 2.0, 3.0):
        pace.job_went(now, others_wait=True)
    pace.job_went(4.0, others_wait=False)
    pace.job_went(1000.0, others_wait=True)
    assert pace.pause_s() == pytest.approx(1.0)


def test_old_pauses_are_forgotten() -> None:
    pace = Pace()
    for now in range(100):
        pace.job_went(10.0 * now, others_wait=True)
    for now in range(40):
        pace.job_went(990.0 + now, others_wait=True)
    assert pace.pause_s() == pytest.approx(1.0)
