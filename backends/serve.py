"""The worker process: receive, prepare, step, send.

Owns the one loop that drives an engine. A reader thread takes messages off the channel (so that preparing
overlaps with a step) and ends the process when the channel closes; everything else happens on the main
thread, in order. Must not know what any engine does inside.
"""

import logging
import os
import queue
import socket
import threading
import time
from importlib.metadata import version
from typing import Any

import msgspec

from backends.base import BatchEngine, JobError, OutOfMemory, StepEngine
from backends.batch_runner import BatchRunner
from backends.prepare import Answered, Broken, FrameSocket, Outcome, Prepared, PrepareStage, Refused
from backends.process import die_with_parent, open_backend
from backends.protocol import (
    PROTOCOL_VERSION,
    Abort,
    Capacity,
    Failed,
    Finished,
    Frame,
    GatewayMessage,
    Hello,
    ItemDone,
    Job,
    Load,
    LoadFailed,
    Loading,
    Message,
    Output,
    ProtocolError,
    Ready,
    Requeue,
    SessionInput,
    SessionParameters,
    Started,
    StepStats,
    Stop,
    Submit,
    fitting,
)
from backends.session_desk import SessionDesk

log = logging.getLogger(__name__)
_LONGEST_SILENCE_S = 0.25
"""While it steps or prepares, whatever comes of it: far below any sound `timeouts.step_s`."""
_decoder = msgspec.msgpack.Decoder(GatewayMessage)
_Event = GatewayMessage | Outcome


class Worker:
    """One engine behind one channel."""

    def __init__(self, channel: FrameSocket) -> None:
        self._channel = channel
        self._inbox: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._preparing: dict[str, Job] = {}
        self._prepare_s: dict[str, float] = {}
        self._received = 0
        self._outputs: list[Output] = []
        self._sent_capacity: Capacity | None = None
        self._sent_at = 0.0
        self._untold = StepStats()
        """Counts of steps that no frame has told of."""
        self._stage: PrepareStage
        self._engine: StepEngine[Any]
        self._sessions: SessionDesk
        self._item_type: Any

    def run(self) -> int:
        """Load, serve until told to stop; the exit status."""
        self._send(Hello(PROTOCOL_VERSION, version("llm-cortex"), os.getpid()))
        body = self._channel.receive()
        load = _decoder.decode(body) if body is not None else None
        if not isinstance(load, Load):
            return 2
        self._stage = PrepareStage(load, self._inbox.put)
        threading.Thread(target=self._read, name="channel", daemon=True).start()
        try:
            ready = self._load(load)
        except Exception as error:  # edge of the process: the gateway decides what a failed load means
            log.exception("the model cannot be loaded")
            self._send(load_failed(error))
            return 1
        self._send(ready)
        self._sent_capacity = ready.capacity
        self._loop()
        self._stage.close()
        return 0

    def _load(self, load: Load) -> Ready:
        started_at = time.monotonic()
        backend = open_backend(load)
        backend.report = self._report
        self._report(0.0)
        self._item_type = list[backend.prepared_type]  # type: ignore[name-defined]
        engine = backend.load(load.device)
        self._engine = BatchRunner(engine) if isinstance(engine, BatchEngine) else engine
        self._engine.announce = self._announce
        self._sessions = SessionDesk(self._engine)
        self._send(Loading("warm_up"))
        self._engine.warm_up()
        self._stage.wait_ready()
        return Ready(self._capacity(), time.monotonic() - started_at)

    def _report(self, fraction: float) -> None:
        self._send(Loading("weights", fraction))

    def _read(self) -> None:
        """Thread: take messages off the channel; leave at once when it closes, whatever the engine does."""
        try:
            while (body := self._channel.receive()) is not None:
                message = _decoder.decode(body)
                self._inbox.put(message)
                if isinstance(message, Submit) and not _is_session(message.job):
                    self._stage.submit(message.job)
        except Exception:  # edge of the process: a broken channel is the end of it
            log.exception("the channel to the gateway is broken")
        os._exit(0)

    def _loop(self) -> None:
        while True:
            if not self._take_messages(block=not self._engine.has_work()):
                return
            stats = StepStats()
            if self._engine.has_work():
                self._outputs += self._engine.step()
                stats = self._engine.stats()
            self._flush(stats)

    def _take_messages(self, block: bool) -> bool:
        """Act on everything that has come; wait for the first if `block`. False: told to stop."""
        try:
            event = self._inbox.get(block=block, timeout=_LONGEST_SILENCE_S if self._preparing else None)
            while True:
                if isinstance(event, Stop):
                    self._give_back()
                    return False
                if isinstance(event, SessionInput):
                    self._sessions.take(event)
                else:
                    self._take(event)
                event = self._inbox.get_nowait()
        except queue.Empty:
            return True

    def _take(self, event: _Event) -> None:
        match event:
            case Submit(job):
                self._received += 1
                self._receive(job)
            case Abort(job_id):
                self._abort(job_id)
            case Prepared():
                self._take_prepared(event)
            case Answered(job_id, results, prepare_s):
                if self._preparing.pop(job_id, None):
                    self._prepare_s[job_id] = prepare_s
                    self._outputs += [ItemDone(job_id, i, result) for i, result in enumerate(results)]
                    self._outputs.append(Finished(job_id))
            case Refused(job_id, message, param, code):
                if self._preparing.pop(job_id, None):
                    self._outputs.append(Failed(job_id, "invalid_request", message, param, code))
            case Broken(job_id, message):
                if self._preparing.pop(job_id, None):
                    self._outputs.append(Failed(job_id, "internal", message))
            case _:
                raise AssertionError(f"unexpected {type(event).__name__}")

    def _take_prepared(self, prepared: Prepared) -> None:
        items = msgspec.msgpack.decode(prepared.items, type=self._item_type)
        if waiting := self._preparing.pop(prepared.job_id, None):
            self._prepare_s[prepared.job_id] = prepared.prepare_s
            self._add(waiting, items)
            return
        for item in items:  # the job was aborted meanwhile
            item.discard()

    def _add(self, job: Job, items: list[Any]) -> None:
        try:
            self._engine.add(job, items)
        except Exception as error:  # it is that job's alone: whoever is at work already is not to blame
            for item in items:
                item.discard()
            self._outputs.append(_not_taken(job.id, error))

    def _receive(self, job: Job) -> None:
        """A session needs no preparing."""
        if not _is_session(job):
            self._preparing[job.id] = job
            return
        try:
            self._sessions.open(job)
        except JobError as error:
            self._outputs.append(_not_taken(job.id, error))
        else:
            self._announce(job.id)

    def _abort(self, job_id: str) -> None:
        if self._preparing.pop(job_id, None):
            self._stage.cancel(job_id)
        elif not self._engine.abort(job_id):
            return  # it has ended meanwhile, and its last message is on the way
        self._outputs.append(Failed(job_id, "aborted", "aborted"))

    def _give_back(self) -> None:
        unstarted = [*self._preparing, *self._engine.requeue(0)]
        self._preparing.clear()
        self._outputs += [Requeue(job_id) for job_id in unstarted]
        self._flush(StepStats())

    def _capacity(self) -> Capacity:
        capacity = self._engine.capacity()
        preparing = sum(job.result_count for job in self._preparing.values())
        return msgspec.structs.replace(
            capacity,
            queued=capacity.queued + preparing,
            received=self._received,
            inputs=self._sessions.inputs,
            listening=self._sessions.has_work(),
        )

    def _flush(self, stats: StepStats) -> None:
        self._outputs += self._sessions.after(self._outputs)
        capacity = self._capacity()
        # While jobs are being prepared the next frame is near anyway: a capacity alone is not worth one.
        nothing_new = not self._outputs and (self._preparing or capacity == self._sent_capacity)
        self._untold = stats = stats.after(self._untold)
        if nothing_new and not self._owes_a_sign(stats):
            return
        outputs = [self._with_prepare_time(output) for output in self._outputs]
        *first, last = fitting(outputs)
        for piece in first:
            self._send_outputs(piece, capacity, StepStats())
        self._send_outputs(last, capacity, stats)
        self._sent_capacity = capacity
        self._untold = StepStats()
        self._sent_at = time.monotonic()
        self._outputs.clear()

    def _send_outputs(self, outputs: list[Output], capacity: Capacity, stats: StepStats) -> None:
        """In one frame, or in as many as they need."""
        try:
            self._send(Frame(outputs, capacity, stats))
        except ProtocolError:  # nothing of it is sent
            if len(outputs) == 1:
                self._send_outputs([self._give_up(outputs[0].job_id)], capacity, stats)
                return
            middle = len(outputs) // 2
            self._send_outputs(outputs[:middle], capacity, StepStats())
            self._send_outputs(outputs[middle:], capacity, stats)

    def _give_up(self, job_id: str) -> Failed:
        """A job of whose answer no frame can hold a part; whatever else comes of it counts no more."""
        self._engine.abort(job_id)
        message = "The answer is too large to be given: ask for fewer tokens or log-probabilities."
        return Failed(job_id, "invalid_request", message, code="answer_too_large")

    def _owes_a_sign(self, stats: StepStats) -> bool:
        """It steps or prepares, and the gateway would take it for hung if it never heard of it.

        Preparing has a limit of its own, so that no hang is covered up by this.
        """
        at_work = stats.step_s > 0 or bool(self._preparing)
        return at_work and time.monotonic() - self._sent_at >= _LONGEST_SILENCE_S

    def _announce(self, job_id: str) -> None:
        self._send(Frame([Started(job_id)], self._capacity()))

    def _with_prepare_time(self, output: Output) -> Output:
        if isinstance(output, Finished):
            prepare_s = self._prepare_s.pop(output.job_id, 0.0)
            timings = msgspec.structs.replace(output.timings, prepare_s=prepare_s)
            return Finished(output.job_id, timings)
        if isinstance(output, Failed):
            self._prepare_s.pop(output.job_id, None)
        return output

    def _send(self, message: Message) -> None:
        self._channel.send(message)


def _not_taken(job_id: str, error: Exception) -> Failed:
    if isinstance(error, JobError):
        return Failed(job_id, "invalid_request", error.message, error.param, error.code)
    log.error("a job cannot be taken on", exc_info=error)
    return Failed(job_id, "internal", f"The model cannot take the request on: {type(error).__name__}.")


def _is_session(job: Job) -> bool:
    return isinstance(job.parameters, SessionParameters)


def load_failed(error: Exception) -> LoadFailed:
    """What the gateway is told of it: `internal` stands for what no backend says that it raises."""
    message = str(error) or type(error).__name__
    if isinstance(error, OutOfMemory | MemoryError):
        return LoadFailed("out_of_memory", message)
    if isinstance(error, ValueError | OSError | ArithmeticError):  # the last: weights that give no numbers
        return LoadFailed("invalid_model", message)
    return LoadFailed("internal", f"{type(error).__name__}: {message}")


def run_worker(fd: int, parent_pid: int) -> int:
    """Main of the worker process."""
    die_with_parent(parent_pid)
    return Worker(FrameSocket(socket.socket(fileno=fd))).run()
