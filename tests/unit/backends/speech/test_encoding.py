"""Every format, written piece by piece, is one file that decodes to the sound that went in."""

import io
import itertools
import wave
from typing import get_args

import numpy as np
import pytest

from backends.protocol import AudioFormat
from backends.speech.encoding import Samples, open_encoder
from tests.spoken import decoded

FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
SECONDS = 3.0
DELAY_S = 0.11
"""Codecs pad: a frame or two at either end."""


def tone(rate: int) -> Samples:
    return np.asarray(0.4 * np.sin(2 * np.pi * 440 * np.arange(int(SECONDS * rate)) / rate), np.float32)


def written(format: AudioFormat, rate: int, pieces: int) -> list[bytes]:
    encoder, parts = open_encoder(format, rate), np.array_split(tone(rate), pieces)
    return [encoder.write(part, is_last=index == pieces - 1) for index, part in enumerate(parts)]


def loudest_hz(samples: Samples, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


@pytest.mark.parametrize(("format", "rate"), [*itertools.product(FORMATS, (24000, 22050, 16000))])
def test_what_is_joined_decodes_to_what_went_in(format: AudioFormat, rate: int) -> None:
    samples, decoded_rate = decoded(b"".join(written(format, rate, 7)), format)
    assert len(samples) / decoded_rate == pytest.approx(SECONDS, abs=DELAY_S)
    assert loudest_hz(samples, decoded_rate) == pytest.approx(440, abs=2)
    assert float(np.abs(samples[decoded_rate : 2 * decoded_rate]).max()) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_leave_with_the_first_piece(format: AudioFormat) -> None:
    """They are sound already: what a player has got by then plays for most of the piece."""
    first, *_ = written(format, 24000, 3)
    samples, rate = decoded(first, format)
    assert len(samples) / rate > 0.55


@pytest.mark.parametrize("format", FORMATS)
def test_a_moment_of_sound_is_a_whole_file(format: AudioFormat) -> None:
    encoder = open_encoder(format, 24000)
    data = encoder.write(tone(24000)[:240]) + encoder.write(np.zeros(0, np.float32), is_last=True)
    samples, rate = decoded(data, format)
    assert 0 < len(samples) / rate < 0.15


def test_sizes_in_a_wav_are_right_where_they_can_be_known() -> None:
    (whole,) = written("wav", 24000, 1)
    with wave.open(io.BytesIO(whole)) as file:
        assert (file.getframerate(), file.getnframes()) == (24000, int(SECONDS * 24000))
    assert int.from_bytes(whole[4:8], "little") == len(whole) - 8
    first, *_ = written("wav", 24000, 2)
    assert first[4:8] == first[40:44] == b"\xff\xff\xff\xff"


def test_what_is_too_loud_is_clipped_and_does_not_wrap() -> None:
    data = open_encoder("pcm", 24000).write(np.array([0.0, 1.5, -1.5], np.float32), is_last=True)
    assert np.frombuffer(data, "<i2").tolist() == [0, 32767, -32767]
