"""Scripted engines for tests and for measuring the gateway alone: no weights, any fault on demand.

The model's `parameters` script every job; a directive in the prompt, `@name` or `@name:number`, scripts that
job alone:

    @tokens:N  @slow:MS         how many outputs, milliseconds a step
    @die:N  @hang:N  @spin:N    after N outputs exit, sleep for ever, or loop for ever
    @deadlock:N                 after N outputs wait for a lock that is never freed
    @garble:N  @huge:N          after N outputs send bytes that are no frame, or announce a 4 GB frame
    @truncate:N                 after N outputs send half a frame and exit
    @error:N  @oom:N            after N outputs fail this job alone, as one that the device has no room for
    @raise:N                    after N outputs raise from step(), as a bug would
    @prepare-hang  @prepare-die @prepare-refuse     faults of the prepare stage

N defaults to 0. Output i of a generation is the text `w<i> `, unless the prompt says otherwise: see
backends/fake_answers.py; backends/fake_audio.py, backends/fake_pictures.py and backends/fake_painting.py are
for recordings, speech, pictures seen and pictures painted. Sampling has nothing to choose from here: its
parameters are accepted. A stop string ends the answer where one token holds it. An embedding is a function of
the text, or of the picture's bytes.
"""

import os
import struct
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from backends.base import Backend, BatchEngine, JobError, OutOfMemory, Preparer, StepEngine
from backends.fake_answers import ADAPTERS, MOST_ANSWERS, FakeItem, directives, plan
from backends.fake_answers import HONOURED as ANSWERED
from backends.fake_audio import (
    AUDIO_TASKS,
    LANGUAGES,
    VOICE_ALIASES,
    VOICES,
    FakeSpeech,
    FakeTranscript,
    hear,
    read_aloud,
)
from backends.fake_audio import HONOURED as HEARD
from backends.fake_faults import strike, strike_in_preparing, struck, take_room
from backends.fake_pictures import HONOURED as SEEN
from backends.fake_pictures import LIMITS, PAINT_LIMITS, PAINT_TASKS, PAINTED, SIZES, look, see
from backends.fake_sequence import FakeSequence
from backends.protocol import (
    Capacity,
    CaptionParameters,
    ClassifyParameters,
    Description,
    EmbeddingResult,
    Failed,
    Finished,
    GenerateParameters,
    GenerationResult,
    Item,
    ItemDone,
    Job,
    JobTask,
    Media,
    Output,
    PaintParameters,
    Result,
    SpeakParameters,
    StepStats,
    TokenizeParameters,
    TranscribeParameters,
)
from backends.tokens import TOKEN_TASKS, answer

if TYPE_CHECKING:
    from backends.fake_painting import FakePainting


class FakeParameters(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`parameters:` of a fake model."""

    tokens: int = 16
    step_ms: float = 0.0
    load_ms: float = 0.0
    load_fault: Literal["", "die", "hang", "error", "oom"] = ""
    fault_file: str = ""
    """The load fault strikes only while this file exists (empty: always)."""
    max_sequences: int = 64
    dimensions: int = 8
    memory_bytes: int = 1 << 20
    context_length: int = 1 << 20
    ballast_bytes: int = 0
    """Memory really taken at load."""
    room_file: str = ""
    """Memory that only one model can have: a load fails for lack of it while another holds this file."""


def _parameters(backend: "Backend[Any]") -> FakeParameters:
    return msgspec.convert(backend.spec.parameters, FakeParameters)


class FakePreparer(Preparer[FakeItem]):
    def __init__(self, parameters: FakeParameters) -> None:
        self._parameters = parameters

    def prepare(self, job: Job) -> list[FakeItem]:
        parameters = job.parameters
        if isinstance(parameters, TranscribeParameters):
            return [struck(hear(item)) for item in job.items]
        if isinstance(parameters, SpeakParameters):
            return [struck(read_aloud(item)) for item in job.items]
        if isinstance(parameters, PaintParameters):
            from backends.fake_painting import sketch

            return [struck(sketch(item, parameters, self._parameters.tokens)) for item in job.items]
        if job.task in ("embed", "caption", "classify") and any(isinstance(i, Media) for i in job.items):
            return [
                struck(see(i) if isinstance(i, Media) else plan(i, GenerateParameters())) for i in job.items
            ]
        asked = parameters if isinstance(parameters, GenerateParameters) else GenerateParameters()
        return [self._checked(plan(item, asked)) for item in job.items]

    def answer(self, job: Job) -> list[Result]:
        return answer(job, FakeTokenizer())

    def _checked(self, item: FakeItem) -> FakeItem:
        struck(item)
        if item.tokens > self._parameters.context_length:
            limit = self._parameters.context_length
            raise JobError(
                f"This model's context is {limit} tokens; the prompt has {item.tokens}.",
                param="messages",
                code="context_length_exceeded",
            )
        return item


class FakeTokenizer:
    """Tokens are bytes of UTF-8."""

    size = 256

    def encode(self, item: Item, parameters: TokenizeParameters) -> list[int]:
        text = plan(item, GenerateParameters()).text
        strike_in_preparing(text)
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        return bytes([token])

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")


class _FakeBackend(Backend[FakeItem]):
    prepared_type = FakeItem

    def preparer(self) -> FakePreparer:
        return FakePreparer(_parameters(self))

    def _load(self) -> FakeParameters:
        parameters = _parameters(self)
        time.sleep(parameters.load_ms / 2000)
        take_room(parameters.room_file, parameters.ballast_bytes)
        time.sleep(parameters.load_ms / 2000)
        fault = parameters.load_fault
        if parameters.fault_file and not os.path.exists(parameters.fault_file):
            fault = ""
        if fault == "die":
            print(os.environ.get("FAKE_LAST_WORDS", "dying as scripted"), file=sys.stderr, flush=True)
            os._exit(9)
        if fault == "hang":
            time.sleep(3600)
        if fault == "error":
            raise ValueError("broken as scripted")
        if fault == "oom":
            raise OutOfMemory("no memory, as scripted")
        return parameters


class FakeStepBackend(_FakeBackend):
    """Generates scripted text, one token a sequence a step; transcribes and speaks if its tasks say so."""

    def describe(self) -> Description:
        parameters = _parameters(self)
        hears: list[JobTask] = ["listen"] if "transcribe" in self.spec.tasks else []
        return Description(
            [*self.spec.tasks, *TOKEN_TASKS, *hears],
            self._honoured(),
            context_length=parameters.context_length,
            vocabulary_size=1000,
            memory_bytes=parameters.memory_bytes,
            limits={"n": MOST_ANSWERS, "best_of": MOST_ANSWERS} | (PAINT_LIMITS if self._paints() else {}),
            adapters=list(ADAPTERS) if "generate" in self.spec.tasks else [],
            voices=list(VOICES) if "speak" in self.spec.tasks else [],
            voice_aliases=dict(VOICE_ALIASES) if "speak" in self.spec.tasks else {},
            languages=list(LANGUAGES) if set(AUDIO_TASKS) & set(self.spec.tasks) else [],
            sizes=list(SIZES) if self._paints() else [],
        )

    def load(self, device: str) -> "FakeStepEngine":
        if "transcribe" not in self.spec.tasks:
            return FakeStepEngine(self._load())
        from backends.fake_sessions import FakeSessionEngine

        return FakeSessionEngine(self._load())

    def _honoured(self) -> list[str]:
        by_task = {"generate": ANSWERED, "translate": HEARD["transcribe"]} | HEARD | PAINTED
        names = [name for task in self.spec.tasks for name in by_task.get(task, [])]
        return list(dict.fromkeys(names))

    def _paints(self) -> bool:
        return bool(set(PAINT_TASKS) & set(self.spec.tasks))


_Answer: TypeAlias = "FakeSequence | FakeTranscript | FakeSpeech | FakePainting"


class FakeStepEngine(StepEngine[FakeItem]):
    def __init__(self, parameters: FakeParameters) -> None:
        self._parameters = parameters
        self._running: list[_Answer] = []
        self._queue: list[_Answer] = []
        self._open: dict[str, int] = {}
        self._started: set[str] = set()
        self._stats = StepStats()
        self._seen = StepStats()
        """Tokens in a cache and tokens foretold, since the last step."""
        self._ids = (f"call_{number:08x}" for number in count(1))

    def warm_up(self) -> None:
        """Nothing is lazy here."""

    def add(self, job: Job, items: list[FakeItem]) -> None:
        tokens, step_ms = self._parameters.tokens, self._parameters.step_ms
        self._open[job.id] = job.result_count
        for index in range(job.result_count):
            item = items[index // job.answers]
            if job.task in ("transcribe", "translate"):
                self._queue.append(FakeTranscript(job, index, item, tokens=tokens, step_ms=step_ms))
            elif job.task == "speak":
                self._queue.append(FakeSpeech(job, index, item, tokens=tokens, step_ms=step_ms))
            elif job.task in PAINT_TASKS:
                from backends.fake_painting import FakePainting

                self._queue.append(FakePainting(job, index, item, tokens=tokens, step_ms=step_ms))
            else:
                self._queue.append(FakeSequence(job, index, item, self._ids, tokens=tokens, step_ms=step_ms))
        self._queue.sort(key=lambda answer: -answer.job.priority)

    def step(self) -> list[Output]:
        started_at = time.monotonic()
        self._admit()
        outputs: list[Output] = []
        rows = len(self._running)
        painted = sum(sequence.job.task in PAINT_TASKS for sequence in self._running)
        for sequence in list(self._running):
            if sequence.job.id in self._open:
                outputs += self._advance(sequence)
        self._running = [s for s in self._running if s.job.id in self._open and s.done < s.limit]
        if wait_s := max((s.step_s for s in self._running), default=0.0):
            time.sleep(wait_s)
        step_s = time.monotonic() - started_at
        self._stats = msgspec.structs.replace(
            self._seen,
            step_s=step_s,
            running=len(self._running),
            batch_items=rows,
            decode_tokens=rows - painted,
            denoise_steps=painted,
        )
        self._seen = StepStats()
        return outputs

    def abort(self, job_id: str) -> bool:
        if self._open.pop(job_id, None) is None:
            return False
        self._started.discard(job_id)
        self._running = [s for s in self._running if s.job.id != job_id]
        self._queue = [s for s in self._queue if s.job.id != job_id]
        return True

    def has_work(self) -> bool:
        return bool(self._running or self._queue)

    def capacity(self) -> Capacity:
        return Capacity(self._parameters.max_sequences - len(self._running), -1, len(self._queue), 0)

    def stats(self) -> StepStats:
        return self._stats

    def requeue(self, max_queued: int) -> list[str]:
        unstarted = [s.job.id for s in self._queue[max_queued:] if s.job.id not in self._started]
        return [job_id for job_id in dict.fromkeys(unstarted) if self.abort(job_id)]

    def _admit(self) -> None:
        while self._queue and len(self._running) < self._parameters.max_sequences:
            sequence = self._queue.pop(0)
            self._running.append(sequence)
            if sequence.job.id not in self._started:
                self._started.add(sequence.job.id)
                self.announce(sequence.job.id)

    def _advance(self, sequence: _Answer) -> list[Output]:
        job = sequence.job
        strike(sequence.script, sequence.done)
        if sequence.script.get("error", -1) == sequence.done:
            self.abort(job.id)
            return [Failed(job.id, "internal", "failed as scripted")]
        if sequence.script.get("oom", -1) == sequence.done:
            self.abort(job.id)
            return [Failed(job.id, "out_of_memory", "no room, as scripted")]
        outputs: list[Output] = []
        if sequence.done < sequence.limit:
            outputs += sequence.advance()
        if sequence.done >= sequence.limit:
            outputs += self._end(sequence)
        return outputs

    def _end(self, sequence: _Answer) -> list[Output]:
        job_id = sequence.job.id
        result = sequence.result()
        if isinstance(sequence, FakeSequence) and isinstance(result, GenerationResult):
            self._count(sequence, result)
        outputs: list[Output] = [ItemDone(job_id, sequence.index, result)]
        self._open[job_id] -= 1
        if self._open[job_id] == 0:
            del self._open[job_id]
            self._started.discard(job_id)
            outputs.append(Finished(job_id))
        return outputs

    def _count(self, sequence: FakeSequence, result: GenerationResult) -> None:
        """A prompt's answers share its look-up; half of what was foretold came true."""
        first = sequence.answer == 0
        self._seen = msgspec.structs.replace(
            self._seen,
            prefix_queries=self._seen.prefix_queries + (result.prompt_tokens if first else 0),
            prefix_hits=self._seen.prefix_hits + (result.cached_tokens if first else 0),
            draft_tokens=self._seen.draft_tokens + 2 * result.accepted_draft_tokens,
            draft_accepted=self._seen.draft_accepted + result.accepted_draft_tokens,
        )


class FakeBatchBackend(_FakeBackend):
    """Embeds texts into vectors made from their hash; looks at pictures if its tasks say so."""

    def describe(self) -> Description:
        parameters = _parameters(self)
        honoured = [name for task in self.spec.tasks for name in SEEN.get(task, [])]
        if "classify" in self.spec.tasks and "embed" in self.spec.tasks:
            honoured.append("image")
        return Description(
            [*self.spec.tasks, *TOKEN_TASKS],
            honoured,
            dimensions=parameters.dimensions,
            memory_bytes=parameters.memory_bytes,
            limits=dict(LIMITS) if honoured else {},
        )

    def load(self, device: str) -> "FakeBatchEngine":
        return FakeBatchEngine(self._load())


class FakeBatchEngine(BatchEngine[FakeItem]):
    max_batch_cost = 4096

    def __init__(self, parameters: FakeParameters) -> None:
        self._parameters = parameters
        self.max_batch_items = parameters.max_sequences

    def warm_up(self) -> None:
        """Nothing is lazy here."""

    def cost(self, item: FakeItem) -> int:
        return item.tokens

    def forward(self, job_parameters: Sequence[Any], items: Sequence[FakeItem]) -> list[Result]:
        scripts = [directives(item.text) for item in items]
        time.sleep(max([self._parameters.step_ms, *(script.get("slow", 0) for script in scripts)]) / 1000)
        for script in scripts:
            strike(script, 0)
            if "error" in script:
                raise RuntimeError("failed as scripted")
            if "oom" in script:
                raise OutOfMemory("no room, as scripted")
        return [
            look(asked, item)
            if isinstance(asked, CaptionParameters | ClassifyParameters)
            else self._embed(item)
            for asked, item in zip(job_parameters, items, strict=True)
        ]

    def _embed(self, item: FakeItem) -> EmbeddingResult:
        digest = sha256(item.digest.encode() or item.text.encode()).digest()
        values = [digest[i % 32] / 255 for i in range(self._parameters.dimensions)]
        return EmbeddingResult(struct.pack(f"<{len(values)}f", *values), len(values), item.tokens)
