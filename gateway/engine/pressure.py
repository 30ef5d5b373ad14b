"""How short of memory the machine is, and what must be given up for it. Pure.

From calm on, each step keeps what the steps before it do: refuse new work and loads; evict idle models; shed,
which puts batch jobs back and starts nothing. It goes up one step at a time while memory stays short, each
step having time to help, and back to calm only when there is clearly enough again: so it does not flutter.
"""

from enum import IntEnum

from msgspec import Struct

from config.schema import PressureConfig


class Step(IntEnum):
    CALM = 0
    REFUSE = 1
    EVICT = 2
    SHED = 3


class Reading(Struct, frozen=True):
    """Memory of the machine or the control group, as it was seen."""

    total_bytes: int
    available_bytes: int
    """What can be taken without swapping."""
    stalled: float = 0.0
    """Share of the last ten seconds in which everything waited for memory (PSI, `full`); 0 where unknown."""


class Pressure(Struct, frozen=True):
    step: Step = Step.CALM
    since: float = 0.0
    """When it came to this step."""


def judge(pressure: Pressure, reading: Reading, config: PressureConfig, now: float) -> Pressure:
    """What a reading changes."""
    share = reading.available_bytes / reading.total_bytes if reading.total_bytes else 1.0
    stalls = reading.stalled >= config.stall_share and share < config.relief_above
    if share < config.refuse_below or stalls:
        if pressure.step is Step.CALM or now - pressure.since >= config.step_s:
            step = Step(min(pressure.step + 1, Step.SHED))
            return Pressure(step, now) if step is not pressure.step else pressure
        return pressure
    if pressure.step is not Step.CALM and share >= config.relief_above and not stalls:
        return Pressure(Step.CALM, now)
    return pressure
