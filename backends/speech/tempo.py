"""Changes how fast finished speech goes, its pitch kept: for speeds that a voice itself cannot speak at."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph

from backends.speech.encoding import Samples

_SLOWEST = 0.5
"""Factor of one filter."""


class Tempo:
    """Waveform-similarity overlap-add, by FFmpeg's filter `atempo`; a `factor` over 1 is faster."""

    def __init__(self, factor: float, sample_rate: int) -> None:
        self._rate = sample_rate
        self._position = 0
        self._graph = Graph()
        source = self._graph.add_abuffer(
            format="flt", sample_rate=sample_rate, layout="mono", time_base=Fraction(1, sample_rate)
        )
        stretching = [self._graph.add("atempo", f"{each:.6f}") for each in _factors(factor)]
        sink = self._graph.add("abuffersink")
        self._graph.link_nodes(source, *stretching, sink).configure()

    def write(self, samples: Samples, *, is_last: bool = False) -> Samples:
        """What is ready after these samples; with `is_last` all that is left."""
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate, frame.pts = self._rate, self._position
            frame.time_base = Fraction(1, self._rate)
            self._position += len(samples)
            self._graph.push(frame)
        if is_last:
            self._graph.push(None)
        return _joined(self._ready())

    def _ready(self) -> Iterator[Samples]:
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, av.AudioFrame)
            yield frame.to_ndarray().reshape(-1).astype(np.float32)


def _factors(factor: float) -> list[float]:
    """Factors that one filter takes each, and whose product is this."""
    return [factor] if factor >= _SLOWEST else [_SLOWEST, *_factors(factor / _SLOWEST)]


def _joined(parts: Iterable[Samples]) -> Samples:
    return np.concatenate([np.zeros(0, np.float32), *parts])


def split_speed(speed: float, slowest: float, fastest: float) -> tuple[float, float]:
    """What the voice itself speaks at, and the factor by which the rest is stretched (1: not at all)."""
    own = min(max(speed, slowest), fastest)
    return own, speed / own
