"""Statistics of a measurement: percentiles, medians, ratios of interleaved rounds.

Owns the arithmetic and nothing else: no clock, no files, no sockets.
"""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct


class Spread(Struct, frozen=True):
    """What is reported of many durations, seconds."""

    count: int
    p50: float
    p99: float
    worst: float


def percentile(values: Sequence[float], fraction: float) -> float:
    """Value below which `fraction` (0 to 1) of `values` lie, linear between neighbours; NaN of nothing."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction {fraction} is not between 0 and 1")
    if not values:
        return math.nan
    ordered = sorted(values)
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def spread(values: Sequence[float]) -> Spread:
    return Spread(
        count=len(values),
        p50=percentile(values, 0.5),
        p99=percentile(values, 0.99),
        worst=max(values, default=math.nan),
    )


def median(values: Sequence[float]) -> float:
    """Median of the values that are numbers; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours over theirs, round by round: the machine's speed of the hour cancels out only within a round."""
    return [a / b if b else math.nan for a, b in zip(ours, theirs, strict=True)]


def gaps(times: Sequence[float]) -> list[float]:
    """Time from each event to the next."""
    return [after - before for before, after in pairwise(times)]


def steady_rate(streams: Sequence[Sequence[float]]) -> float:
    """Events/s of all streams together, from when the last one has begun until the first one ends.

    Nothing but steady work of all is in there. NaN where they never ran all together.
    """
    if not streams or not all(streams):
        return math.nan
    start, end = max(times[0] for times in streams), min(times[-1] for times in streams)
    if end <= start:
        return math.nan
    return sum(start < at <= end for times in streams for at in times) / (end - start)


def gaps_within(times: Sequence[float], start: float, end: float) -> list[float]:
    """Gaps that overlap the time from `start` to `end`."""
    return [after - before for before, after in pairwise(times) if after > start and before < end]
