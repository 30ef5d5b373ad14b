"""An engine that answers from a script, for tests of the HTTP side: no process, no model."""

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from backends.protocol import (
    AudioDelta,
    Blob,
    CaptionParameters,
    CaptionResult,
    ClassifyParameters,
    ClassifyResult,
    Delta,
    Description,
    DetokenizeResult,
    EmbeddingResult,
    Finished,
    GenerationResult,
    Inline,
    ItemDone,
    Job,
    LocalFile,
    Media,
    PaintParameters,
    PaintProgress,
    PaintResult,
    PictureDelta,
    SpeechResult,
    TokenizeResult,
    TokenLogprob,
    TranscribeParameters,
    TranscriptionResult,
    TranscriptSegment,
    TranscriptWord,
)
from config.load import ConfigFile
from config.schema import Config, LimitsConfig, ModelSpec, ServerConfig, TimeoutsConfig
from gateway.app import create_app
from gateway.engine.bulletin import Bulletin, ModelEvent, Watcher
from gateway.engine.devices import DeviceState
from gateway.engine.errors import GatewayError
from gateway.engine.memory_view import DeviceStatus, HeldShare
from gateway.engine.registry import Registry
from gateway.engine.status import ModelStatus, WorkerStatus
from gateway.engine.stream import JobStream
from gateway.keys import ANYONE, Key, KeyRing
from gateway.reloading import Reloader
from gateway.telemetry.metrics import Metrics

Script = Callable[[Job, JobStream], None]

CHAT = ModelSpec(
    name="talker", backend="fake", tasks=["generate"], source="x", aliases=["gpt-4o-mini"], note="small"
)
EMBED = ModelSpec(name="org/embedder", backend="fake_batch", tasks=["embed"], source="x")
AUDIO = ModelSpec(
    name="parrot",
    backend="fake",
    tasks=["transcribe", "translate", "speak"],
    source="x",
    aliases=["whisper-1", "tts-1"],
)
VISION = ModelSpec(
    name="seer",
    backend="fake_batch",
    tasks=["caption", "classify", "embed"],
    source="x",
    aliases=["blip", "clip"],
)

PAINTER = ModelSpec(
    name="painter", backend="fake", tasks=["paint", "edit"], source="x", aliases=["gpt-image-1", "dall-e-2"]
)

CHAT_DESCRIPTION = Description(
    tasks=["generate", "tokenize", "detokenize"],
    parameters=["max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "logit_bias", "ignore_eos"],
    context_length=2048,
    vocabulary_size=1000,
)
AUDIO_DESCRIPTION = Description(
    tasks=["transcribe", "translate", "speak"],
    parameters=["prompt", "temperature", "word_timestamps", "logprobs", "voice", "speed"],
    voices=["low", "high"],
    voice_aliases={"alloy": "low"},
    languages=["en", "de"],
)
VISION_DESCRIPTION = Description(
    tasks=["caption", "classify", "embed"],
    parameters=["prompt", "max_tokens", "image"],
    dimensions=2,
    limits={"images": 4, "labels": 3},
)
PAINTER_DESCRIPTION = Description(
    tasks=["paint", "edit"],
    parameters=["n", "quality", "steps", "guidance", "seed", "mask", "strength", "partial_images"],
    limits={"n": 4, "images": 2, "steps": 50},
    sizes=["64x64", "64x96"],
)
EMBED_DESCRIPTION = Description(tasks=["embed"], parameters=[], dimensions=2)

TOKENIZED = TokenizeResult(array("i", [9, 7, 8]).tobytes(), [b"Hi", b" \xe2\x98", b"\x83"])
TRANSCRIPT = TranscriptionResult(
    "Hello <there>.",
    "de",
    3.25,
    [
        TranscriptSegment(0, 0.0, 1.5, " Hello", words=[TranscriptWord(" Hello", 0.25, 1.5)]),
        TranscriptSegment(1, 1.5, 3.25, " <there>.", words=[TranscriptWord(" <there>.", 1.5, 3.25)]),
    ],
    0.5,
    [TokenLogprob(b" Hello", -0.5), TokenLogprob(b" <there>.", -1.5)],
)
VECTOR = array("f", [0.5, -1.0]).tobytes()


def answer(job: Job, stream: JobStream) -> None:
    """Two pieces and the end, a vector for each item, or tokens and their text."""
    for item in range(len(job.items)):
        if job.task in ("tokenize", "detokenize"):
            stream.push(
                ItemDone(job.id, item, TOKENIZED if job.task == "tokenize" else DetokenizeResult("Hi ☃"))
            )
            continue
        if isinstance(job.parameters, TranscribeParameters):
            stream.push(ItemDone(job.id, item, TRANSCRIPT))
            continue
        if job.task == "speak":
            for data in (b"RIFF", b"more"):
                stream.push(AudioDelta(job.id, item, data))
            stream.push(ItemDone(job.id, item, SpeechResult(1.5, 4, 9)))
            continue
        if isinstance(job.parameters, CaptionParameters):
            stream.push(ItemDone(job.id, item, CaptionResult(f"a dog {item}", 1, 3)))
            continue
        if isinstance(job.parameters, PaintParameters):
            paint(job, stream, job.parameters)
            continue
        if isinstance(job.parameters, ClassifyParameters):
            scores = array("f", [0.25, 0.75][: len(job.parameters.labels)]).tobytes()
            stream.push(ItemDone(job.id, item, ClassifyResult(scores, 5)))
            continue
        if job.task == "embed":
            stream.push(ItemDone(job.id, item, EmbeddingResult(VECTOR, 2, 3)))
            continue
        text = "" if job.stream else "Hello"
        if job.stream:
            stream.push(Delta(job.id, item, "Hel"))
            stream.push(Delta(job.id, item, 'lo "you"\n', 2))
        stream.push(ItemDone(job.id, item, GenerationResult(text, "stop", 7, 3, 2)))
    stream.push(Finished(job.id))
    stream.end()


def paint(job: Job, stream: JobStream, asked: PaintParameters) -> None:
    """Two steps; a picture is what it is of, and comes in two pieces."""
    for item in range(asked.n):
        for step in (1, 2) if job.stream else ():
            stream.push(PaintProgress(job.id, item, step, 2))
        for preview in range(asked.previews):
            stream.push(PictureDelta(job.id, item, b"preview", True, preview))
        stream.push(PictureDelta(job.id, item, b"picture ", False))
        stream.push(PictureDelta(job.id, item, b"%d" % item, True))
        result = PaintResult(asked.width or 64, asked.height or 64, 2, (asked.seed or 0) + item, 5)
        stream.push(ItemDone(job.id, item, result))


def silence(job: Job, stream: JobStream) -> None:
    """Nothing comes: the test pushes, or leaves."""


def failure(error: GatewayError) -> Script:
    return lambda job, stream: stream.fail(error)


def _bytes(blob: Blob) -> bytes:
    if isinstance(blob, Inline):
        return blob.data
    assert isinstance(blob, LocalFile)
    return Path(blob.path).read_bytes()


class FakeLife:
    """The lifecycle's face; records what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error: GatewayError | None = None
        self.unloaded = True

    def _note(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error

    async def load(self, name: str, *, pinned: bool | None = None, wait: bool = True) -> None:
        self._note("load", name, pinned, wait)

    async def unload(self, name: str, *, force: bool = False, wait: bool = True) -> bool:
        self._note("unload", name, force, wait)
        return self.unloaded

    async def swap(self, spec: ModelSpec, strategy: str) -> None:
        self._note("swap", spec, strategy)

    async def reload(self, name: str, strategy: str) -> None:
        self._note("reload", name, strategy)

    async def describe_next(self, spec: ModelSpec) -> tuple[int, Description]:
        self._note("describe", spec)
        return 2, CHAT_DESCRIPTION

    async def describe_all(self, specs: list[ModelSpec]) -> dict[str, tuple[int, Description]]:
        return {spec.name: await self.describe_next(spec) for spec in specs}

    async def swap_described(self, spec: ModelSpec, *how: Any, only_if_loaded: bool) -> None:
        self._note("swap", spec, how[-1])

    async def preload(self, names: list[str]) -> None:
        self._note("preload", names)

    def add(self, spec: ModelSpec, version: int, description: Description) -> None:
        self._note("add", spec.name, version)

    def change(self, spec: ModelSpec) -> None:
        self._note("change", spec)

    def remove(self, name: str) -> None:
        self._note("remove", name)


class FakeMemory:
    """One device that one worker lies on."""

    def devices(self) -> list[DeviceStatus]:
        state = DeviceState("cuda:0", "Fake 0", 1000, 800, 100, 0.25)
        return [DeviceStatus(state, [HeldShare(1, "talker", 300, 200)])]


class FakeEngine:
    """The engine's face to the HTTP side; records jobs and aborts."""

    def __init__(self, specs: list[ModelSpec], script: Script) -> None:
        self._registry = Registry(specs)
        self.renew(script)

    def renew(self, script: Script) -> None:
        """As it was at first: nothing has been asked of it."""
        self.script = script
        self.jobs: list[tuple[Job, str]] = []
        self.streams: list[JobStream] = []
        self.aborted: list[str] = []
        self.refusal: GatewayError | None = None
        self.recordings: list[bytes] = []
        """What was in the files of the jobs when they were submitted."""
        self.parameters = CHAT_DESCRIPTION.parameters
        """What the chat model honours."""
        self.describe_blocked: asyncio.Event | None = None
        self.describing = asyncio.Event()
        """Somebody has asked for a description."""
        self.undescribed: GatewayError | None = None
        self.ready = True
        self.draining = False
        self.life = FakeLife()
        self.memory = FakeMemory()
        self.bulletin = Bulletin()

    def resolve(self, name: str) -> ModelSpec:
        return self._registry.resolve(name)

    async def description(self, model: str) -> Description:
        self.describing.set()
        if self.describe_blocked is not None:
            await self.describe_blocked.wait()
        if self.undescribed is not None:
            raise self.undescribed
        if model == EMBED.name:
            return EMBED_DESCRIPTION
        if model == AUDIO.name:
            return AUDIO_DESCRIPTION
        if model == VISION.name:
            return VISION_DESCRIPTION
        if model == PAINTER.name:
            return PAINTER_DESCRIPTION
        return msgspec.structs.replace(CHAT_DESCRIPTION, parameters=self.parameters)

    def submit(self, job: Job, *, key: Key = ANYONE) -> JobStream:
        if self.refusal is not None:
            raise self.refusal
        self.jobs.append((job, key.name))
        media: list[Any] = [*job.items]
        if isinstance(job.parameters, PaintParameters):
            media += [*job.parameters.images, job.parameters.mask]
        self.recordings += [_bytes(item.blob) for item in media if isinstance(item, Media)]
        stream = JobStream(job, lambda job_id, reason: self.aborted.append(job_id))
        self.streams.append(stream)
        self.script(job, stream)
        return stream

    @property
    def specs(self) -> list[ModelSpec]:
        return list(self._registry.specs.values())

    def models(self) -> list[ModelStatus]:
        return [self.model(spec.name) for spec in self.specs]

    def model(self, name: str, *, measure: bool = False) -> ModelStatus:
        spec = self._registry.specs.get(name) or ModelSpec(name=name, backend="fake", tasks=[], source="x")
        worker = WorkerStatus(1, 4711, "ready", "cpu")
        return ModelStatus(spec, "ready", None, "", 1_700_000_000, [worker])

    def watch(self) -> Watcher:
        return self.bulletin.watch(
            [ModelEvent(event="state", model=CHAT.name, version=1, state="ready", at=1.0)]
        )


class Site:
    """An app over a fake engine, and a client that calls it without a socket."""

    def __init__(
        self, app: Litestar, engine: FakeEngine, keys: KeyRing, metrics: Metrics, spool: Path
    ) -> None:
        self.app = app
        self.spool = spool
        self.engine = engine
        self.keys = keys
        self.metrics = metrics
        self.client = self.new_client()

    def new_client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")

    async def chat(self, **fields: Any) -> httpx.Response:
        body = {"model": "talker", "messages": [{"role": "user", "content": "hi"}]} | fields
        return await self.client.post("/v1/chat/completions", json=body)


def make_site(
    keys_path: Path,
    script: Script = answer,
    *,
    server: ServerConfig | None = None,
    limits: LimitsConfig | None = None,
    timeouts: TimeoutsConfig | None = None,
    fetcher: Any = None,
) -> Site:
    config = Config(
        server=server or ServerConfig(),
        limits=limits or LimitsConfig(),
        timeouts=timeouts or TimeoutsConfig(),
        models=[CHAT, EMBED, AUDIO, VISION, PAINTER],
    )
    keys_path.with_name("config.yaml").write_bytes(msgspec.yaml.encode({"models": config.models}))
    file = ConfigFile(keys_path.with_name("config.yaml"))
    config = msgspec.structs.replace(config, models=file.read().models)  # their paths are absolute
    engine, metrics, keys = FakeEngine(config.models, script), Metrics(), KeyRing.open(keys_path)
    spool = keys_path.with_name("spool")
    spool.mkdir(exist_ok=True)
    reloader = Reloader(file, config, engine, metrics)  # type: ignore[arg-type]  # it has the engine's face
    app = create_app(config, engine, metrics, keys, reloader=reloader, spool=spool, fetcher=fetcher)  # type: ignore[arg-type]
    return Site(app, engine, keys, metrics, spool)


@asynccontextmanager
async def open_site(keys_path: Path, script: Script = answer, **settings: Any) -> AsyncIterator[Site]:
    site = make_site(keys_path, script, **settings)
    async with site.client:
        yield site


def assert_envelope(response: httpx.Response, status: int, param: str | None = None) -> dict[str, Any]:
    """The four fields, always; `x-request-id` too."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["param"] == param, error
    return error
