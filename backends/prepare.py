"""The prepare stage: template rendering, tokenising and decoding in a helper that can be killed.

Two sides live here: `run_helper` is the helper process, `PrepareStage` the worker's handle on it. One job is
in the helper at a time, so that a deadline or a crash always names the job at fault; preparing costs
microseconds beside a decode step, so that is no bottleneck. Must not touch the engine.
"""

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from backends.base import JobError, Preparer
from backends.media.spool import remove, spooled_by
from backends.process import die_with_parent, open_backend
from backends.protocol import FrameBuffer, Job, Load, Message, ProtocolError, Result, encode_frame

log = logging.getLogger(__name__)


class Prepared(Message, frozen=True):
    job_id: str
    items: Raw
    """The backend's `prepared_type`, one for each item."""
    prepare_s: float = 0.0


class Answered(Message, frozen=True):
    """The job is done: it needed no engine."""

    job_id: str
    results: list[Result]
    prepare_s: float = 0.0


class Refused(Message, frozen=True):
    """The request's own fault."""

    job_id: str
    message: str
    param: str = ""
    code: str = ""


class Broken(Message, frozen=True):
    """The helper failed on this job, and not because the job is known to be wrong."""

    job_id: str
    message: str


class HelperReady(Message, frozen=True):
    error: str = ""
    """Not empty: the model cannot be prepared for at all."""


Outcome = Prepared | Answered | Refused | Broken
_ANSWERED_HERE = ("tokenize", "detokenize")
_START_S = 300.0
"""The helper is there within this time, or counts as dead: a helper that hangs must not hold up its jobs."""
_CANCEL_POLL_S = 0.1
"""How soon a cancelled job frees the helper that is busy with it."""
_HelperMessage = Outcome | HelperReady

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[_HelperMessage] = msgspec.msgpack.Decoder(_HelperMessage)
_job_decoder = msgspec.msgpack.Decoder(Job)
_load_decoder = msgspec.msgpack.Decoder(Load)


class FrameSocket:
    """Blocking frames over one end of a socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = FrameBuffer()
        self._bodies: list[bytes] = []

    def send(self, message: Message) -> None:
        self.sock.sendall(encode_frame(message))

    def receive(self) -> bytes | None:
        """The next body; None when the other side has closed. Raises TimeoutError by the socket's timeout."""
        while not self._bodies:
            data = self.sock.recv(1 << 18)
            if not data:
                return None
            self._bodies = self._buffer.feed(data)
        return self._bodies.pop(0)


def run_helper(fd: int, parent_pid: int) -> None:
    """Main of the helper process: prepares one job after the other until the socket closes."""
    die_with_parent(parent_pid)
    channel = FrameSocket(socket.socket(fileno=fd))
    body = channel.receive()
    if body is None:
        return
    try:
        preparer = open_backend(_load_decoder.decode(body)).preparer()
    except Exception as error:  # edge of the process: the worker turns it into LoadFailed
        log.exception("the preparer cannot start")
        channel.send(HelperReady(error=str(error) or type(error).__name__))
        return
    channel.send(HelperReady())
    while (body := channel.receive()) is not None:
        channel.sock.sendall(_prepare(preparer, _job_decoder.decode(body)))


def _prepare(preparer: Preparer[Any], job: Job) -> bytes:
    """The frame that says what came of it."""
    started_at = time.monotonic()
    items: list[Any] = []
    outcome: Outcome
    try:
        if job.task in _ANSWERED_HERE:
            return encode_frame(Answered(job.id, preparer.answer(job), time.monotonic() - started_at))
        items = preparer.prepare(job)
        encoded = Raw(_encoder.encode(items))
        return encode_frame(Prepared(job.id, encoded, time.monotonic() - started_at))
    except JobError as error:
        outcome = Refused(job.id, error.message, error.param, error.code)
    except (MemoryError, RecursionError, ProtocolError) as error:
        message = f"the request is too large to prepare ({type(error).__name__})"
        outcome = Refused(job.id, message, code="request_too_large")
    except Exception as error:  # edge of the process: it must fail the job, not the helper
        log.exception("preparing failed")
        outcome = Broken(job.id, f"preparing the request failed: {type(error).__name__}")
    for item in items:
        item.discard()
    return encode_frame(outcome)


class PrepareStage:
    """The worker's side: a thread that feeds the helper and kills it at a job's deadline."""

    def __init__(self, load: Load, deliver: Callable[[Outcome], None]) -> None:
        self._load = load
        self._deliver = deliver
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._first_start: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: FrameSocket | None = None
        threading.Thread(target=self._run, name="prepare", daemon=True).start()

    def wait_ready(self) -> None:
        """Block until the helper can prepare. Raises ValueError with the reason if it cannot."""
        error = self._first_start.get()
        if error:
            raise ValueError(error)

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def cancel(self, job_id: str) -> None:
        """Do not start on this job if it is still waiting; the result of a started one is to be ignored."""
        self._cancelled.add(job_id)

    def close(self) -> None:
        self._jobs.put(None)

    def _run(self) -> None:
        self._first_start.put(self._start_helper())
        while (job := self._jobs.get()) is not None:
            if job.id in self._cancelled:
                self._cancelled.discard(job.id)
                continue
            outcome = self._ask(job)
            self._cancelled.discard(job.id)
            self._deliver(outcome)
        self._kill_helper()

    def _start_helper(self) -> str:
        """Spawn the helper and wait for it; the error that keeps it from working, or nothing."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "backends", "prepare", str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._channel = FrameSocket(ours)
        ours.settimeout(_START_S)
        try:
            self._channel.send(self._load)
            body = self._channel.receive()
        except OSError:
            body = None
        if body is None:
            return "the prepare helper died at its start"
        message = _decoder.decode(body)
        return message.error if isinstance(message, HelperReady) else "the prepare helper sent no greeting"

    def _ask(self, job: Job) -> Outcome:
        if self._process is not None and self._process.poll() is not None:
            self._kill_helper()  # somebody ended it while it had nothing to do
        if self._channel is None and (error := self._start_helper()):
            self._kill_helper()
            return Broken(job.id, error)
        assert self._channel is not None
        assert self._process is not None
        files = spooled_by(self._process.pid) if job.has_media else set()
        try:
            message = self._exchange(self._channel, job)
        except TimeoutError:
            self._kill_helper_over(job, files)
            limit = self._limit_s(job)
            return Refused(job.id, f"preparing the request took over {limit:g} s", code="prepare_timeout")
        except (OSError, ProtocolError, msgspec.MsgspecError):
            message = None
        if message is None or isinstance(message, HelperReady):
            self._kill_helper_over(job, files)
            return Broken(job.id, "the process that prepares requests died on this one")
        return message

    def _exchange(self, channel: FrameSocket, job: Job) -> _HelperMessage | None:
        """Send the job and wait for the answer, until its deadline or until nobody wants it any more."""
        deadline = time.monotonic() + self._limit_s(job)
        channel.sock.settimeout(self._limit_s(job))
        channel.send(job)
        while True:
            channel.sock.settimeout(_CANCEL_POLL_S)
            try:
                body = channel.receive()
                return _decoder.decode(body) if body is not None else None
            except TimeoutError:
                if time.monotonic() >= deadline or job.id in self._cancelled:
                    raise

    def _limit_s(self, job: Job) -> float:
        """Media have to be decoded, which takes longer than reading text."""
        return self._load.media_prepare_timeout_s if job.has_media else self._load.prepare_timeout_s

    def _kill_helper_over(self, job: Job, files: set[str]) -> None:
        """`files`: what it had spooled before this job; what has come since is nobody's now."""
        pid = self._process.pid if self._process is not None else 0
        self._kill_helper()
        if job.has_media:
            for path in spooled_by(pid) - files:
                remove(path)

    def _kill_helper(self) -> None:
        if self._channel is not None:
            self._channel.sock.close()
            self._channel = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
