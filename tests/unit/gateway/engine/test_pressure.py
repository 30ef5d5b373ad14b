"""How short of memory the machine is, reading by reading."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from config.schema import PressureConfig
from gateway.engine.pressure import Pressure, Reading, Step, judge
from gateway.engine.pressure_watch import read_memory, stalled_share

CONFIG = PressureConfig(refuse_below=0.1, relief_above=0.2, stall_share=0.5, step_s=3.0)


def steps(*readings: tuple[float, int, float]) -> list[Step]:
    """(seconds, bytes of 100 available, share stalled) one after the other."""
    pressure, seen = Pressure(), []
    for now, available, stalled in readings:
        pressure = judge(pressure, Reading(100, available, stalled), CONFIG, now)
        seen.append(pressure.step)
    return seen


def test_enough_is_calm() -> None:
    assert steps((0, 50, 0), (1, 10, 0)) == [Step.CALM, Step.CALM]


def test_it_rises_step_by_step_while_memory_stays_short() -> None:
    readings = [(float(now), 5, 0.0) for now in range(11)]
    assert steps(*readings) == [
        *[Step.REFUSE] * 3,
        *[Step.EVICT] * 3,
        *[Step.SHED] * 5,
    ]


def test_a_little_more_is_no_relief_and_enough_is() -> None:
    assert steps((0, 5, 0), (5, 15, 0), (9, 15, 0), (10, 20, 0)) == [
        Step.REFUSE,
        Step.REFUSE,
        Step.REFUSE,
        Step.CALM,
    ]


def test_stalls_count_only_while_little_is_left() -> None:
    assert steps((0, 50, 0.9), (1, 15, 0.9), (2, 50, 0.9)) == [Step.CALM, Step.REFUSE, Step.CALM]


def test_nothing_is_refused_where_it_is_turned_off() -> None:
    assert judge(Pressure(), Reading(100, 0), PressureConfig(refuse_below=0.0), 0.0).step is Step.CALM


@given(st.lists(st.integers(0, 100), max_size=40))
def test_it_rises_by_one_and_falls_to_calm(available: list[int]) -> None:
    seen = [Step.CALM, *steps(*((float(now), share, 0.0) for now, share in enumerate(available)))]
    for before, after, share in zip(seen, seen[1:], available, strict=False):
        assert after in (before, Step.CALM, min(before + 1, Step.SHED))
        assert after is Step.CALM or share < 20
        assert after is not Step.CALM or before is Step.CALM or share >= 20


def test_what_the_kernel_tells_of_stalls(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.write_text("some avg10=50.00 avg60=1.00 avg300=0.00 total=9\nfull avg10=12.50 avg60=0.00 total=3\n")
    assert stalled_share(file) == 0.125
    assert stalled_share(tmp_path / "none") == 0.0


def test_this_machine_can_be_read() -> None:
    reading = read_memory()
    assert 0 < reading.available_bytes <= reading.total_bytes
    assert 0 <= reading.stalled <= 1
