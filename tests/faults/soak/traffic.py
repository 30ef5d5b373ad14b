"""What the clients of a soak run send: every kind of request, ordinary and hostile, for its models.

Owns the models of the run and the bytes of its requests. Knows no outcome.
"""

import json
import random
import struct
import wave
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import msgspec

from config.load import load_config
from tests.faults.cast import CHAT, chat, fake
from tests.faults.ledger import READER, Manner, post, post_bytes
from tests.faults.table import Models

SPEECH, TRANSCRIPTION = "/v1/audio/speech", "/v1/audio/transcriptions"
_BOUNDARY = "a-line-between-parts"
_PATIENCE_S = 240.0
_READS = Manner(patience_s=_PATIENCE_S)


@dataclass(frozen=True)
class Call:
    """One request to be sent. `model` is the one that faults of its may be blamed on; empty: none."""

    kind: str
    model: str
    path: str
    data: bytes
    manner: Manner = READER


@dataclass(frozen=True)
class Casting:
    """Names of the models by what they do."""

    chat: str
    embed: str
    speak: str
    hear: str
    scripted: str = "scripted"
    """A fake model, whose requests can carry faults."""
    caption: str = "eyes"

    @property
    def all(self) -> list[str]:
        return list(
            dict.fromkeys([self.chat, self.embed, self.speak, self.hear, self.scripted, self.caption])
        )


FAKES = Casting("chat", "vectors", "voice", "ears")
STARTERS = Casting("smollm2-135m-instruct", "all-minilm-l6-v2", "hibari", "whisper-base")


def casting(models: Models) -> Casting:
    return STARTERS if models == "starter" else FAKES


def model_settings(models: Models) -> list[dict[str, Any]]:
    """All of them loaded at the start, so that the same is loaded at the end."""
    scripted = [
        fake(FAKES.scripted, step_ms=20),
        _fake_task(FAKES.caption, "fake_batch", "caption"),
    ]
    if models == "starter":
        names = {STARTERS.chat, STARTERS.embed, STARTERS.speak, STARTERS.hear}
        specs = [spec for spec in load_config().models if spec.name in names]
        return [*(_plain(spec) | {"preload": True} for spec in specs), *scripted]
    return [
        fake(FAKES.chat, step_ms=20),
        _fake_task(FAKES.embed, "fake_batch", "embed"),
        _fake_task(FAKES.speak, "fake", "speak"),
        _fake_task(FAKES.hear, "fake", "transcribe"),
        *scripted,
    ]


def _fake_task(name: str, backend: str, task: str) -> dict[str, Any]:
    return fake(name) | {"backend": backend, "tasks": [task], "parameters": {"step_ms": 20}}


def _plain(spec: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(spec)
    return {name: value for name, value in plain.items() if value not in (None, [], {})}


class Traffic:
    """Draws one call after the other. `recording`: a WAV to be heard; `real`: the models are."""

    def __init__(self, cast: Casting, recording: bytes, chance: random.Random, *, real: bool) -> None:
        self._real = real
        self._cast = cast
        self._recording = recording
        self._chance = chance
        self._kinds: list[tuple[int, Callable[[], Call]]] = [
            (30, self._stream),
            (10, self._whole),
            (8, self._completion),
            (15, self._embeddings),
            (5, self._speech),
            (4, self._transcription),
            (8, self._caption),
            (6, self._resets),
            (1, self._never_reads),
            (10, self._hostile),
        ]

    def draw(self) -> Call:
        weights = [weight for weight, _ in self._kinds]
        ((_, make),) = self._chance.choices(self._kinds, weights)
        return make()

    def one_each(self) -> list[Call]:
        """Ordinary ones, which together need every model."""
        plain = (self._whole, self._embeddings, self._speech, self._transcription, self._caption)
        return [*(make() for make in plain), self._chat(self._cast.scripted, "scripted", stream=False)]

    def _prompt(self) -> str:
        """Never the same twice: a request that kills is known again by what it says."""
        number = self._chance.randrange(10**9)
        return f"Say something about the number {number}. @tokens:{self._chance.randint(2, 60)}"

    def _chat(self, model: str, kind: str, *, stream: bool, manner: Manner = _READS, more: str = "") -> Call:
        body = chat(self._prompt() + more, model=model, stream=stream, max_tokens=self._chance.randint(2, 60))
        return Call(kind, model, CHAT, post(CHAT, body), manner)

    def _either(self) -> str:
        return self._chance.choice([self._cast.chat, self._cast.scripted])

    def _stream(self) -> Call:
        return self._chat(self._either(), "stream", stream=True)

    def _whole(self) -> Call:
        return self._chat(self._cast.chat, "whole", stream=False)

    def _resets(self) -> Call:
        manner = Manner(resets_after=self._chance.randint(1, 10), patience_s=_PATIENCE_S)
        return self._chat(self._either(), "resets", stream=True, manner=manner)

    def _never_reads(self) -> Call:
        manner = Manner(reads=False, patience_s=30)
        body = chat(f"{self._prompt()} @wide:4000 @tokens:2000", model=self._cast.scripted)
        return Call("never reads", self._cast.scripted, CHAT, post(CHAT, body), manner)

    def _completion(self) -> Call:
        body = {"model": self._cast.chat, "prompt": self._prompt(), "max_tokens": 12}
        return self._json("completion", self._cast.chat, "/v1/completions", body)

    def _embeddings(self) -> Call:
        texts = [self._prompt() for _ in range(self._chance.randint(1, 8))]
        return self._json(
            "embeddings", self._cast.embed, "/v1/embeddings", {"model": self._cast.embed, "input": texts}
        )

    def _speech(self) -> Call:
        form = self._chance.choice(["mp3", "opus", "flac", "wav", "pcm"])
        number = self._chance.randrange(10**6)
        body = {"model": self._cast.speak, "input": f"Tide number {number} is out.", "response_format": form}
        return self._json("speech", self._cast.speak, SPEECH, body | {"voice": "alloy"})

    def _transcription(self, recording: bytes | None = None, kind: str = "transcription") -> Call:
        data = form_data({"model": self._cast.hear}, self._recording if recording is None else recording)
        media = f"multipart/form-data; boundary={_BOUNDARY}"
        return Call(kind, self._cast.hear, TRANSCRIPTION, post_bytes(TRANSCRIPTION, data, media), _READS)

    def _caption(self, picture: bytes | None = None, kind: str = "caption") -> Call:
        url = "data:image/png;base64," + b64encode(picture or png(self._chance.randrange(256))).decode()
        return self._json(
            kind, self._cast.caption, "/v1/vision/caption", {"model": self._cast.caption, "image": url}
        )

    def _json(self, kind: str, model: str, path: str, body: dict[str, Any]) -> Call:
        return Call(kind, model, path, post(path, body), _READS)

    def _hostile(self) -> Call:
        model = self._cast.chat
        whole = json.dumps(chat("hi", model=model)).encode()
        bodies = [
            b"[" * 100_000,
            whole[:-5],
            whole.replace(b"hi", b"\xff\xfe"),
            json.dumps(chat("hi", model=model, n=10**9)).encode(),
            json.dumps(chat("hi", model=model, temperature=1e999)).encode(),
            json.dumps(chat("hi", model=model, unheard_of=1)).encode(),
            json.dumps(chat("hi", model="../../etc/passwd")).encode(),
        ]
        if self._real:  # a fake model takes any length, and hears any bytes
            bodies.append(json.dumps(chat("word " * 300_000, model=model)).encode())
        choice = self._chance.randrange(len(bodies) + 1 + self._real)
        if choice == len(bodies):
            return self._json("hostile json", model, "/v1/embeddings", {"model": model, "input": "x"})
        if choice > len(bodies):
            return self._transcription(self._recording[: len(self._recording) // 2 + 1], "hostile sound")
        return Call("hostile json", model, CHAT, post_bytes(CHAT, bodies[choice]), _READS)


def form_data(fields: dict[str, str], recording: bytes) -> bytes:
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return b"".join([*parts, head.encode(), recording, f"\r\n--{_BOUNDARY}--\r\n".encode()])


def silence(seconds: float) -> bytes:
    """A WAV to be heard where no voice has spoken one."""
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(bytes(int(32_000 * seconds)))
    return file.getvalue()


def png(shade: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    rows = zlib.compress((b"\0" + bytes([shade]) * 8) * 8)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
