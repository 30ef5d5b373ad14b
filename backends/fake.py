"""Scripted engines for tests and for measuring the gateway alone: no weights, any fault on demand.

The model's `parameters` script every job; a directive in the prompt, `@name` or `@name:number`, scripts that
job alone:

    @tokens:N  @slow:MS         how many outputs, milliseconds a step
    @die:N  @hang:N  @spin:N    after N outputs exit, sleep for ever, or loop for ever
    @garble:N  @huge:N          after N outputs send bytes that are no frame, or announce a 4 GB frame
    @truncate:N                 after N outputs send half a frame and exit
    @error:N                    after N outputs fail this job alone
    @raise:N                    after N outputs raise from step(), as a bug would
    @prepare-hang  @prepare-die @prepare-refuse     faults of the prepare stage

N defaults to 0. Output i of a generation is the text `w<i> `; an embedding is a function of the text.
"""

import os
import re
import struct
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct

from backends.base import Backend, BatchEngine, JobError, OutOfMemory, PreparedItem, Preparer, StepEngine
from backends.protocol import (
    Capacity,
    Chat,
    Delta,
    Description,
    EmbeddingResult,
    Failed,
    Finished,
    GenerateParameters,
    GenerationResult,
    ItemDone,
    Job,
    Output,
    Result,
    StepStats,
    Text,
)

_DIRECTIVE = re.compile(r"@([a-z-]+)(?::(\d+))?")


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


class FakeItem(PreparedItem):
    text: str
    tokens: int


def _parameters(backend: "Backend[Any]") -> FakeParameters:
    return msgspec.convert(backend.spec.parameters, FakeParameters)


class FakePreparer(Preparer[FakeItem]):
    def __init__(self, parameters: FakeParameters) -> None:
        self._parameters = parameters

    def prepare(self, job: Job) -> list[FakeItem]:
        return [self._item(_text(item), job) for item in job.items]

    def _item(self, text: str, job: Job) -> FakeItem:
        script = _script(text)
        if "prepare-hang" in script:
            time.sleep(3600)
        if "prepare-die" in script:
            os._exit(1)
        if "prepare-refuse" in script:
            raise JobError("refused as scripted", param="messages", code="scripted")
        tokens = len(text.split()) or 1
        if tokens > self._parameters.context_length:
            limit = self._parameters.context_length
            raise JobError(
                f"This model's context is {limit} tokens; the prompt has {tokens}.",
                param="messages",
                code="context_length_exceeded",
            )
        return FakeItem(text, tokens)


def _text(item: Any) -> str:
    if isinstance(item, Text):
        return item.text
    if isinstance(item, Chat):
        return "\n".join(message.content for message in item.messages)
    return " ".join(map(str, item.ids))


def _script(text: str) -> dict[str, int]:
    return {name: int(number or 0) for name, number in _DIRECTIVE.findall(text)}


def _strike(script: dict[str, int], done: int) -> None:
    """Carry out a fault of this process that is due after `done` outputs."""
    for name in ("die", "hang", "spin", "garble", "huge", "truncate", "raise"):
        if script.get(name, -1) == done:
            _FAULTS[name]()


def _channel_write(data: bytes) -> None:
    os.write(int(sys.argv[2]), data)


def _spin() -> None:
    while True:
        pass


def _truncate() -> None:
    _channel_write(struct.pack("<I", 1000) + b"half")
    os._exit(1)


def _raise() -> None:
    raise RuntimeError("raised as scripted")


_FAULTS = {
    "die": lambda: os._exit(9),
    "hang": lambda: time.sleep(3600),
    "spin": _spin,
    "garble": lambda: _channel_write(struct.pack("<I", 12) + b"\xc1not msgpack"),
    "huge": lambda: _channel_write(b"\xff\xff\xff\xff" + b"x" * 4096),
    "truncate": _truncate,
    "raise": _raise,
}


class _FakeBackend(Backend[FakeItem]):
    prepared_type = FakeItem

    def preparer(self) -> FakePreparer:
        return FakePreparer(_parameters(self))

    def _load(self) -> FakeParameters:
        parameters = _parameters(self)
        time.sleep(parameters.load_ms / 1000)
        self._ballast = b"\1" * parameters.ballast_bytes
        fault = parameters.load_fault
        if parameters.fault_file and not os.path.exists(parameters.fault_file):
            fault = ""
        if fault == "die":
            os._exit(9)
        if fault == "hang":
            time.sleep(3600)
        if fault == "error":
            raise ValueError("broken as scripted")
        if fault == "oom":
            raise OutOfMemory("no memory, as scripted")
        return parameters


class FakeStepBackend(_FakeBackend):
    """Generates scripted text, one token a sequence a step."""

    def describe(self) -> Description:
        parameters = _parameters(self)
        return Description(
            ["generate"],
            list(GenerateParameters.__struct_fields__),
            context_length=parameters.context_length,
            vocabulary_size=1000,
            memory_bytes=parameters.memory_bytes,
        )

    def load(self, device: str) -> "FakeStepEngine":
        return FakeStepEngine(self._load())


class _Sequence:
    def __init__(self, job: Job, index: int, item: FakeItem, parameters: FakeParameters) -> None:
        assert isinstance(job.parameters, GenerateParameters)
        self.job = job
        self.index = index
        self.item = item
        self.script = _script(item.text)
        wanted = self.script.get("tokens", parameters.tokens)
        limit = job.parameters.max_tokens
        self.limit = wanted if limit is None else min(wanted, limit)
        self.finish_reason: Literal["stop", "length"] = "stop" if self.limit == wanted else "length"
        self.step_s = self.script.get("slow", parameters.step_ms) / 1000
        self.done = 0
        self.text = ""


class FakeStepEngine(StepEngine[FakeItem]):
    def __init__(self, parameters: FakeParameters) -> None:
        self._parameters = parameters
        self._running: list[_Sequence] = []
        self._queue: list[_Sequence] = []
        self._open: dict[str, int] = {}
        self._started: set[str] = set()
        self._stats = StepStats()

    def warm_up(self) -> None:
        """Nothing is lazy here."""

    def add(self, job: Job, items: list[FakeItem]) -> None:
        self._open[job.id] = len(items)
        self._queue += [_Sequence(job, i, item, self._parameters) for i, item in enumerate(items)]

    def step(self) -> list[Output]:
        started_at = time.monotonic()
        self._admit()
        outputs: list[Output] = []
        rows = len(self._running)
        for sequence in list(self._running):
            if sequence.job.id in self._open:
                outputs += self._advance(sequence)
        self._running = [s for s in self._running if s.job.id in self._open and s.done < s.limit]
        if wait_s := max((s.step_s for s in self._running), default=0.0):
            time.sleep(wait_s)
        step_s = time.monotonic() - started_at
        self._stats = StepStats(step_s, len(self._running), batch_items=rows, decode_tokens=rows)
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

    def _advance(self, sequence: _Sequence) -> list[Output]:
        job = sequence.job
        _strike(sequence.script, sequence.done)
        if sequence.script.get("error", -1) == sequence.done:
            self.abort(job.id)
            return [Failed(job.id, "internal", "failed as scripted")]
        outputs: list[Output] = []
        if sequence.done < sequence.limit:
            piece = f"w{sequence.done} "
            sequence.done += 1
            if job.stream:
                outputs.append(Delta(job.id, sequence.index, piece))
            else:
                sequence.text += piece
        if sequence.done >= sequence.limit:
            outputs += self._end(sequence)
        return outputs

    def _end(self, sequence: _Sequence) -> list[Output]:
        job_id = sequence.job.id
        result = GenerationResult(sequence.text, sequence.finish_reason, sequence.item.tokens, sequence.done)
        outputs: list[Output] = [ItemDone(job_id, sequence.index, result)]
        self._open[job_id] -= 1
        if self._open[job_id] == 0:
            del self._open[job_id]
            self._started.discard(job_id)
            outputs.append(Finished(job_id))
        return outputs


class FakeBatchBackend(_FakeBackend):
    """Embeds texts into vectors made from their hash."""

    def describe(self) -> Description:
        parameters = _parameters(self)
        return Description(
            ["embed"], [], dimensions=parameters.dimensions, memory_bytes=parameters.memory_bytes
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
        scripts = [_script(item.text) for item in items]
        time.sleep(max([self._parameters.step_ms, *(script.get("slow", 0) for script in scripts)]) / 1000)
        for script in scripts:
            _strike(script, 0)
            if "error" in script:
                raise RuntimeError("failed as scripted")
        return [self._embed(item) for item in items]

    def _embed(self, item: FakeItem) -> EmbeddingResult:
        digest = sha256(item.text.encode()).digest()
        values = [digest[i % 32] / 255 for i in range(self._parameters.dimensions)]
        return EmbeddingResult(struct.pack(f"<{len(values)}f", *values), len(values), item.tokens)
