"""Speech goes faster or slower and keeps its pitch."""

import numpy as np
import pytest

from backends.speech.tempo import Tempo, split_speed


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.8, 1.25, 4.0])
def test_length_changes_and_pitch_stays(factor: float) -> None:
    rate = 24000
    tone = np.asarray(0.4 * np.sin(2 * np.pi * 300 * np.arange(4 * rate) / rate), np.float32)
    tempo = Tempo(factor, rate)
    parts = [tempo.write(part) for part in np.array_split(tone, 9)]
    heard = np.concatenate([*parts, tempo.write(tone[:0], is_last=True)])
    assert len(heard) / rate == pytest.approx(4 / factor, rel=0.03)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert spectrum.argmax() * rate / len(heard) == pytest.approx(300, abs=3)


@pytest.mark.parametrize(
    ("speed", "expected"), [(1.0, (1.0, 1.0)), (0.25, (0.5, 0.5)), (4.0, (2.0, 2.0)), (1.5, (1.5, 1.0))]
)
def test_the_voice_does_what_it_can_and_stretching_the_rest(
    speed: float, expected: tuple[float, float]
) -> None:
    assert split_speed(speed, 0.5, 2.0) == expected
