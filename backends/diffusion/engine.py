"""The engine: pictures of many requests painted together, a denoising step at a time.

Owns places, turns, ends and failures; backends.diffusion.turns decides who takes a step. Pictures are decoded
one at a time between steps, and written to files in a thread beside them.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from msgspec import Struct
from PIL import Image

from backends.base import OutOfMemory, StepEngine, give_back
from backends.diffusion.encoding import encode
from backends.diffusion.item import PaintItem
from backends.diffusion.painter import Painter, Ready
from backends.diffusion.row import Row
from backends.diffusion.steps import preview_positions
from backends.diffusion.turns import may_begin, next_work, together
from backends.protocol import (
    MAX_PICTURE_DELTA_BYTES,
    Capacity,
    Failed,
    FailureKind,
    Finished,
    ItemDone,
    Job,
    Output,
    PaintProgress,
    PictureDelta,
    StepStats,
)
from backends.torch_model import NotFinite

log = logging.getLogger(__name__)
_BATCHES = 4
"""So many steps' worth of pictures may be on their way: a short one finds a place beside long ones."""
_SMOOTHING = 0.3
"""Weight of the newest step in what steps are expected to take."""


class _Undecoded(Struct):
    row: Row
    latents: torch.Tensor
    preview: int = -1
    """-1: the finished picture."""


class _Unwritten(Struct):
    row: Row
    data: "Future[bytes]"
    preview: int


class DiffusionEngine(StepEngine[PaintItem]):
    def __init__(
        self,
        painter: Painter,
        sample: PaintItem,
        *,
        batch_items: int,
        max_step_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sample`: what is painted to warm up."""
        self._painter = painter
        self._sample = sample
        self._batch_items = batch_items
        self._max_step_s = max_step_s
        self._clock = clock
        self._cost_s = 0.0
        """Seconds a megapixel takes; 0: not known yet."""
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []
        self._undecoded: deque[_Undecoded] = deque()
        self._unwritten: deque[_Unwritten] = deque()
        self._left: dict[str, int] = {}
        """Pictures of each open job that have not ended."""
        self._started: set[str] = set()
        self._turn = 0
        self._decoded_last = False
        self._writer = ThreadPoolExecutor(1, "write-pictures")
        self._stats = StepStats()

    # --- the contract ------------------------------------------------------------------------------------

    def warm_up(self) -> None:
        ready = self._painter.ready(self._sample)
        canvas = self._painter.begin(self._sample, ready, self._sample.seed)
        self._painter.advance(canvas, self._painter.predict([canvas], [self._sample.guidance]))
        encode(self._painter.pixels(canvas.seen), self._sample.format, self._sample.compression)

    def add(self, job: Job, items: list[PaintItem]) -> None:
        self._left[job.id] = job.result_count
        self._waiting += [Row(job, index, items[index // job.answers]) for index in range(job.result_count)]

    def step(self) -> list[Output]:
        started_at = self._clock()
        outputs = self._begin_rows()
        work = next_work(
            running=bool(self._running), to_decode=bool(self._undecoded), decoded_last=self._decoded_last
        )
        self._decoded_last = work == "decode"
        taken: list[Row] = []
        if work == "denoise":
            taken, more = self._denoise()
            outputs += more
        elif work == "decode":
            outputs += self._decode()
        outputs += self._written(wait=work == "wait")
        self._stats = StepStats(
            step_s=self._clock() - started_at,
            running=len(self._running),
            batch_items=len(taken),
            denoise_steps=len(taken),
        )
        return outputs

    def abort(self, job_id: str) -> bool:
        if self._left.pop(job_id, None) is None:
            return False
        self._started.discard(job_id)
        self._waiting = deque(row for row in self._waiting if row.job.id != job_id)
        self._running = [row for row in self._running if row.job.id != job_id]
        self._undecoded = deque(one for one in self._undecoded if one.row.job.id != job_id)
        for one in self._unwritten:
            if one.row.job.id == job_id:
                one.data.cancel()
        self._unwritten = deque(one for one in self._unwritten if one.row.job.id != job_id)
        return True

    def has_work(self) -> bool:
        return bool(self._waiting or self._running or self._undecoded or self._unwritten)

    def capacity(self) -> Capacity:
        return Capacity(max(0, self._places()), -1, len(self._waiting), 0)

    def stats(self) -> StepStats:
        return self._stats

    def requeue(self, max_queued: int) -> list[str]:
        unstarted = [job_id for job_id in reversed(self._left) if job_id not in self._started]
        return give_back(unstarted, self.abort, lambda: len(self._waiting), max_queued)

    # --- beginning ---------------------------------------------------------------------------------------

    def _places(self) -> int:
        return _BATCHES * self._batch_items - len(self._running) - self._finished()

    def _finished(self) -> int:
        return sum(one.preview < 0 for one in self._undecoded)

    def _begin_rows(self) -> list[Output]:
        """Let those that wait begin, one prompt after the other, as long as there are places and time."""
        outputs: list[Output] = []
        running, prompts = len(self._running), 0
        while self._waiting and self._places() > 0:
            if not may_begin(finished=self._finished(), running=running, begun_now=prompts):
                break
            prompts += 1
            outputs += self._begin_item()
        return outputs

    def _begin_item(self) -> list[Output]:
        """The pictures of the prompt whose turn it is, which is read once."""
        first = self._waiting[0]
        job = first.job
        if job.id not in self._started:
            self._started.add(job.id)
            self.announce(job.id)
        try:
            first.begin()
            ready = self._painter.ready(first.item)
            while self._waiting and self._waiting[0].item is first.item and self._places() > 0:
                self._begin_row(self._waiting[0], ready)
                self._waiting.popleft()
        except Exception as error:  # it must fail its own job and no neighbour
            return self._fail(first, error)
        return []

    def _begin_row(self, row: Row, ready: Ready) -> None:
        row.begin()
        canvas = self._painter.begin(row.item, ready, row.seed)
        row.put(canvas, preview_positions(len(canvas.timesteps), row.item.previews), self._turn)
        self._running.append(row)

    # --- steps -------------------------------------------------------------------------------------------

    def _denoise(self) -> tuple[list[Row], list[Output]]:
        self._turn += 1
        budget = self._max_step_s / self._cost_s if self._cost_s else float("inf")
        places = together(self._running, self._turn, most=self._batch_items, budget=budget)
        rows = [self._running[place] for place in places]
        started_at = self._clock()
        outputs = self._move(rows)
        self._learn(sum(row.cost for row in rows), self._clock() - started_at)
        self._running = [row for row in self._running if row.job.id in self._left and not row.is_done]
        return rows, outputs

    def _learn(self, cost: float, took_s: float) -> None:
        """What a step costs, by what this one did."""
        seen_s = took_s / cost
        self._cost_s += (seen_s - self._cost_s) * (_SMOOTHING if self._cost_s else 1.0)

    def _move(self, rows: Sequence[Row]) -> list[Output]:
        """These one step on; where that fails, half of them each, so that a fault meets its own job alone."""
        rows = [row for row in rows if row.job.id in self._left]
        if not rows:
            return []
        try:
            noise = self._painter.predict(
                [row.canvas for row in rows if row.canvas is not None], [row.item.guidance for row in rows]
            )
        except Exception as error:
            if isinstance(error, OutOfMemory):
                self._painter.free()
            if len(rows) == 1:
                return self._fail(rows[0], error)
            half = len(rows) // 2
            return [*self._move(rows[:half]), *self._move(rows[half:])]
        return [
            output
            for place, row in enumerate(rows)
            if row.job.id in self._left  # another picture of it has failed in this very step
            for output in self._advance(row, noise[place : place + 1])
        ]

    def _advance(self, row: Row, noise: torch.Tensor) -> list[Output]:
        """The row by itself: what its scheduler does with it, right or wrong, is no neighbour's matter."""
        assert row.canvas is not None
        try:
            self._painter.advance(row.canvas, noise)
        except Exception as error:  # it must fail its own job and no neighbour
            return self._fail(row, error)
        return self._moved(row)

    def _moved(self, row: Row) -> list[Output]:
        canvas = row.canvas
        assert canvas is not None
        row.last_turn = self._turn
        if row.takes_preview():
            self._undecoded.append(_Undecoded(row, canvas.seen, row.previewed - 1))
        if row.is_done:
            self._undecoded.append(_Undecoded(row, canvas.latents))
        if not row.job.stream:
            return []
        return [PaintProgress(row.job.id, row.index, canvas.position, row.steps)]

    # --- pictures ----------------------------------------------------------------------------------------

    def _decode(self) -> list[Output]:
        """The picture that has waited longest; it is written beside the next step."""
        one = self._undecoded.popleft()
        try:
            image = self._painter.pixels(one.latents)
        except Exception as error:  # it must fail its own job and no neighbour
            return self._fail(one.row, error)
        self._unwritten.append(_Unwritten(one.row, self._writer.submit(_write, one.row, image), one.preview))
        return []

    def _written(self, wait: bool) -> list[Output]:
        """What has been written, in order; `wait` for the first."""
        outputs: list[Output] = []
        while self._unwritten and (wait or self._unwritten[0].data.done()):
            one = self._unwritten.popleft()
            wait = False
            try:
                data = one.data.result()
            except Exception as error:  # it must fail its own job and no neighbour
                outputs += self._fail(one.row, error)
                continue
            outputs += _deltas(one, data)
            if one.preview < 0:
                outputs += self._end(one.row)
        return outputs

    # --- ends --------------------------------------------------------------------------------------------

    def _end(self, row: Row) -> list[Output]:
        job_id = row.job.id
        outputs: list[Output] = [ItemDone(job_id, row.index, row.result())]
        self._left[job_id] -= 1
        if self._left[job_id] == 0:
            self.abort(job_id)
            outputs.append(Finished(job_id, row.timings()))
        return outputs

    def _fail(self, row: Row, error: Exception) -> list[Output]:
        job_id = row.job.id
        kind: FailureKind = "internal"
        message = f"the engine failed on this picture: {type(error).__name__}"
        if isinstance(error, OutOfMemory | MemoryError):
            self._painter.free()
            kind, message = "out_of_memory", "the device has no room for this picture now"
        elif isinstance(error, NotFinite):
            message = f"the model gave no picture: {error}"
        log.error("a picture cannot be painted", exc_info=error)
        self.abort(job_id)
        return [Failed(job_id, kind, message)]


def _write(row: Row, image: Image.Image) -> bytes:
    return encode(row.overlaid(image), row.item.format, row.item.compression)


def _deltas(one: _Unwritten, data: bytes) -> list[Output]:
    starts = range(0, len(data), MAX_PICTURE_DELTA_BYTES)
    return [
        PictureDelta(
            one.row.job.id,
            one.row.index,
            data[start : start + MAX_PICTURE_DELTA_BYTES],
            complete=start == starts[-1],
            preview=one.preview,
        )
        for start in starts
    ]
