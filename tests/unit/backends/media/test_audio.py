"""Recordings decoded: formats, and what a hostile file gets."""

import io
import socket
import struct
import threading
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from backends.base import JobError
from backends.media.audio import SAMPLE_RATE, AudioLimits, decode
from backends.protocol import Blob, Inline, LocalFile, Remote

LIMITS = AudioLimits(max_s=60)


def tone(seconds: float, rate: int = SAMPLE_RATE) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    moments = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 440 * moments) * 12000).astype(np.int16)


def wav(seconds: float = 1.0, channels: int = 1, rate: int = SAMPLE_RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.repeat(tone(seconds, rate), channels).tobytes())
    return file.getvalue()


def encoded(container: str, codec: str, seconds: float = 1.0, rate: int = 48000) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options={"strict": "-2"})
        frame = av.AudioFrame.from_ndarray(tone(seconds, rate)[None], format="s16", layout="mono")
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def samples(blob: Blob, limits: AudioLimits = LIMITS) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    pieces: list[bytes] = []
    count = decode(blob, limits, pieces.append)
    result = np.frombuffer(b"".join(pieces), "<i2")
    assert len(result) == count
    return result


def refusal(blob: Blob, limits: AudioLimits = LIMITS) -> JobError:
    with pytest.raises(JobError) as caught:
        samples(blob, limits)
    assert caught.value.param == "file"
    return caught.value


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("wav", "pcm_f32le"),
        ("mp3", "libmp3lame"),
        ("mp4", "aac"),
        ("ipod", "aac"),
        ("adts", "aac"),
        ("ogg", "libopus"),
        ("ogg", "vorbis"),
        ("flac", "flac"),
        ("webm", "libopus"),
        ("matroska", "pcm_s16le"),
    ],
)
def test_what_people_send(container: str, codec: str) -> None:
    heard = samples(Inline(encoded(container, codec)))
    assert len(heard) == pytest.approx(SAMPLE_RATE, rel=0.15)
    strongest = np.argmax(np.abs(np.fft.rfft(heard[4000:12000]))) * SAMPLE_RATE / 8000
    assert strongest == pytest.approx(440, abs=4)


def test_wav_of_16_khz_comes_as_it_is() -> None:
    assert (samples(Inline(wav())) == tone(1.0)).all()


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_wav_that_does_not_say_where_its_channels_belong(channels: int) -> None:
    assert len(samples(Inline(wav(channels=channels, rate=24000)))) == pytest.approx(SAMPLE_RATE, abs=40)


def test_channels_are_mixed() -> None:
    assert np.abs(samples(Inline(wav(channels=2))).astype(int) - tone(1.0)).max() <= 2


@pytest.mark.parametrize("channels", [8, 9, 24, 31, 32])
def test_many_channels_are_mixed(channels: int) -> None:
    """FFmpeg knows where the loudspeakers of 8 and of 24 stand."""
    assert np.abs(samples(Inline(wav(channels=channels))).astype(int) - tone(1.0)).max() <= 2
    assert len(samples(Inline(wav(channels=channels, rate=44100)))) == pytest.approx(SAMPLE_RATE, abs=40)


@pytest.mark.parametrize("channels", [8, 9, 32])
def test_many_channels_that_do_not_lie_side_by_side(channels: int) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as output:
        layout = f"{channels} channels"
        stream = output.add_stream("libopus", rate=48000, layout=layout, options={"mapping_family": "255"})
        interleaved = np.repeat(tone(1.0, 48000), channels)[None]
        frame = av.AudioFrame.from_ndarray(interleaved, format="s16", layout=layout)
        frame.rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    heard = samples(Inline(file.getvalue())).astype(int)
    assert np.abs(heard[4000:12000]).max() == pytest.approx(12000, rel=0.05)


def test_channels_are_averaged_where_they_have_no_place() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((9, 2, SAMPLE_RATE, 0, "NONE", ""))
        writer.writeframes(np.tile(np.arange(9, dtype="<i2") * 1000, 1600).tobytes())
    assert np.abs(samples(Inline(file.getvalue())).astype(int) - 4000).max() <= 1


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(wav())
    assert len(samples(LocalFile(str(path)))) == SAMPLE_RATE
    missing = refusal(LocalFile(str(tmp_path / "secret" / "gone")))
    assert "secret" not in missing.message


def test_decoding_ends_where_a_recording_is_too_long() -> None:
    taken: list[bytes] = []
    with pytest.raises(JobError) as caught:
        decode(Inline(encoded("ogg", "libopus", seconds=30)), AudioLimits(max_s=2), taken.append)
    assert caught.value.code == "audio_too_long"
    assert sum(map(len, taken)) <= 2 * SAMPLE_RATE * 2


def test_an_hour_in_a_few_bytes_costs_no_more_than_the_limit() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as output:
        stream = output.add_stream("libopus", rate=48000, options={"b": "500", "frame_duration": "60"})
        for _ in range(600):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), format="s16", layout="mono")
            frame.rate = 48000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert refusal(Inline(file.getvalue()), AudioLimits(max_s=60)).code == "audio_too_long"


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 100, b"RIFF", b"not a recording " * 99, wav()[:40], b"OggS" + b"\xff" * 500]
)
def test_what_is_no_recording(data: bytes) -> None:
    error = refusal(Inline(data))
    assert error.code == "invalid_audio"
    assert "0x" not in error.message
    assert "/" not in error.message


def test_a_wav_header_that_claims_more_than_there_is() -> None:
    data = bytearray(wav())
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, 40, 0x7FFFEFFF)
    for cut in (bytes(data), wav()[:20_000]):
        assert "cut off" in refusal(Inline(cut)).message


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_wav_whose_length_was_not_known(size: int) -> None:
    """The first is sox's."""
    data = bytearray(wav())
    struct.pack_into("<I", data, 4, min(size + 36, 0xFFFFFFFF))
    struct.pack_into("<I", data, 40, size)
    assert len(samples(Inline(bytes(data)))) == SAMPLE_RATE


def test_a_wav_whose_length_was_not_quite_known() -> None:
    assert len(samples(Inline(wav()[:-2]))) == SAMPLE_RATE - 1


def test_a_wav_with_other_chunks_is_whole() -> None:
    data = wav()
    more = data[:36] + b"JUNK" + struct.pack("<I", 3) + b"abc\0" + data[36:]
    assert len(samples(Inline(more))) == SAMPLE_RATE


@pytest.mark.parametrize(
    ("container", "codec"), [("aiff", "pcm_s16be"), ("au", "pcm_s16be"), ("webm", "libopus")]
)
def test_half_of_a_file(container: str, codec: str) -> None:
    whole = encoded(container, codec, seconds=10.0)
    assert len(samples(Inline(whole))) == pytest.approx(10 * SAMPLE_RATE, rel=0.01)
    assert "cut off" in refusal(Inline(whole[: len(whole) // 2])).message


@pytest.mark.parametrize("container", ["ogg", "mp3"])
def test_half_of_a_stream_is_a_shorter_stream(container: str) -> None:
    """Such files do not write their length down, or only perhaps."""
    whole = encoded(container, {"ogg": "libopus", "mp3": "mp3"}[container], seconds=10.0)
    assert 3 * SAMPLE_RATE < len(samples(Inline(whole[: len(whole) // 2]))) < 7 * SAMPLE_RATE


def test_numbers_that_are_none() -> None:
    data = struct.pack("<1000f", *[float("nan")] * 1000)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32, b"data", len(data))  # fmt: skip  # noqa: E501
    assert "finite" in refusal(Inline(header + data)).message


def test_255_channels() -> None:
    assert "255 channels" in refusal(Inline(wav(0.05, channels=255))).message


def test_a_picture_in_motion_without_sound() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert "no sound" in refusal(Inline(file.getvalue())).message


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port, and whoever connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls: list[object] = []

        def accept() -> None:
            try:
                while True:
                    connection, address = server.accept()
                    calls.append(address)
                    connection.close()
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], calls
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{url}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
    "<BaseURL>{url}</BaseURL></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio {port} RTP/AVP 0\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_opens_nothing(kind: str, listener: tuple[int, list[object]], tmp_path: Path) -> None:
    port, calls = listener
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav())
    for url in (f"http://127.0.0.1:{port}/a.wav", f"tcp://127.0.0.1:{port}", f"file://{secret}", str(secret)):
        playlist = PLAYLISTS[kind].format(url=url, port=port).encode()
        assert refusal(Inline(playlist)).code == "invalid_audio"
        path = tmp_path / "upload.m3u8"
        path.write_bytes(playlist)
        assert refusal(LocalFile(str(path))).code == "invalid_audio"
    assert calls == []


def test_no_reference_is_followed() -> None:
    refusal(Remote("http://127.0.0.1/a.wav"))
