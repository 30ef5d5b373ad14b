"""The step loop: many sequences of many jobs in each decode call.

Owns the jobs, who runs and who waits, and the cache cells they hold. What a step contains is the planner's
decision; sequences know what a token does to them. Python stays out of the token path: sampling happens in C,
and a step costs a few calls for each running sequence.
"""

import logging
import time
from bisect import insort
from collections.abc import Callable, Mapping
from itertools import count
from operator import attrgetter
from typing import Any, Protocol

import numpy as np

from backends.base import JobError, StepEngine
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.batch import Batch
from backends.llama_cpp.model import Model, TokenArray
from backends.llama_cpp.planner import CostModel, Limits, Plan, plan
from backends.llama_cpp.sampling import build_chain, choose_seed, free_chain, resolve
from backends.llama_cpp.sequence import JobState, Sequence
from backends.protocol import (
    Capacity,
    Failed,
    FailureKind,
    Finished,
    GenerateParameters,
    ItemDone,
    Job,
    Output,
    StepStats,
    Timings,
)

log = logging.getLogger(__name__)

_ALONE_STEP_S = 0.4
"""Where nothing streams, a step of prefill lasts about this long: an abort must not wait for it all."""
_NO_ROOM, _ALLOCATION_FAILED = 1, -2
_by_rank = attrgetter("rank")
Work = list[tuple[Sequence, int]]
"""Sequences of a step, and how many tokens of their history each decodes in it."""


class Decoder(Protocol):
    """What the engine needs of a model.Context; a test may put something between."""

    n_ctx: int
    n_batch: int
    n_seq_max: int

    def decode(self, batch: Any) -> int: ...
    def sample(self, chain: Any, row: int) -> int: ...
    def remove(self, seq_id: int, start: int = 0) -> bool: ...
    def held(self, seq_id: int) -> int: ...
    def close(self) -> None: ...


class LlamaEngine(StepEngine[PreparedPrompt]):
    """`context_length` bounds one sequence; `max_step_s` is what a step may last while answers stream."""

    def __init__(
        self,
        model: Model,
        context: Decoder,
        *,
        defaults: Mapping[str, float],
        context_length: int,
        max_step_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._context = context
        self._defaults = defaults
        self._context_length = min(context_length, context.n_ctx)
        self._max_step_s = max_step_s
        self._clock = clock
        vocabulary = model.vocabulary
        self._vocabulary = vocabulary
        self._end_tokens = vocabulary.end_tokens()
        self._suppressed = vocabulary.suppressed_tokens()
        self._batch = Batch(context.n_batch, context.n_seq_max, vocabulary.size)
        self._limits = Limits(context.n_ctx, context.n_seq_max, context.n_batch)
        self._costs = CostModel()
        self._arrivals = count()
        self._jobs: dict[str, JobState] = {}
        self._running: list[Sequence] = []
        self._waiting: list[Sequence] = []
        self._suspects: list[Sequence] = []
        self._free_ids = list(range(context.n_seq_max))
        self._crowded = False
        """The cache had no room although the count said so: nobody joins before somebody leaves."""
        self._outputs: list[Output] = []
        self._stats = StepStats()
        self._preemptions = 0

    # --- taking jobs on and giving them up ---------------------------------------------------------------

    def add(self, job: Job, items: list[PreparedPrompt]) -> None:
        if not isinstance(job.parameters, GenerateParameters):
            raise JobError("this model only generates text", param="model")
        prompts = [np.frombuffer(item.tokens, dtype="<i4").astype(np.int32) for item in items]
        for prompt in prompts:
            self._check_prompt(prompt)
        state = JobState(job, self._clock())
        state.sequences = [self._sequence(state, item, prompt) for item, prompt in enumerate(prompts)]
        self._jobs[job.id] = state
        for sequence in state.sequences:
            insort(self._waiting, sequence, key=_by_rank)

    def abort(self, job_id: str) -> bool:
        return self._drop(job_id) is not None

    def requeue(self, max_queued: int) -> list[str]:
        dropped: list[str] = []
        for sequence in reversed(self._waiting.copy()):
            if len(self._waiting) <= max_queued:
                break
            job_id = sequence.owner.job.id
            if sequence.owner.started_at is None and self._drop(job_id):
                dropped.append(job_id)
        return dropped

    def has_work(self) -> bool:
        return bool(self._running or self._waiting)

    def capacity(self) -> Capacity:
        committed = sum(s.length for s in self._running) + sum(s.length for s in self._waiting)
        return Capacity(
            free_sequences=self._limits.sequences - len(self._running),
            free_kv_tokens=max(self._limits.cells - committed, 0),
            queued=len(self._waiting),
            received=0,
        )

    def stats(self) -> StepStats:
        return self._stats

    def close(self) -> None:
        """Free everything. The engine must not be used after that."""
        for job_id in list(self._jobs):
            self._drop(job_id)
        self._context.close()
        self._model.close()

    # --- one step ----------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        started_at = self._clock()
        self._outputs = []
        self._preemptions = 0
        work = self._suspect_work() if self._suspects else self._planned_work()
        decode_rows = sum(sequence.length - sequence.held == 1 for sequence, _ in work)
        prefill_tokens = sum(tokens for _, tokens in work) - decode_rows
        result = self._decode(work)
        if result == 0:
            self._costs.measured(self._clock() - started_at, decode_rows, prefill_tokens)
            self._sample(work)
        elif result == _NO_ROOM:
            self._make_room()
        else:
            self._recover(work, result)
        self._stats = StepStats(
            step_s=self._clock() - started_at,
            running=len(self._running),
            batch_items=decode_rows,
            prefill_tokens=prefill_tokens,
            decode_tokens=decode_rows,
            kv_used=sum(sequence.held for sequence in self._running),
            kv_total=self._limits.cells,
            preemptions=self._preemptions,
        )
        return self._outputs

    def warm_up(self) -> None:
        """Prefill and decode for real, once untimed and then timed: the first plan needs the costs."""
        prompt = np.arange(64, dtype=np.int32) % self._vocabulary.size
        for timed in (False, True):
            position = 0
            for tokens in (prompt, prompt[:1], prompt[:1]):
                started_at = self._clock()
                self._batch.clear()
                self._batch.add(0, tokens, position, want_last=True)
                if result := self._context.decode(self._batch.raw):
                    raise RuntimeError(f"the warm-up decode failed with {result}")
                position += len(tokens)
                if timed:
                    alone = len(tokens) == 1
                    self._costs.measured(self._clock() - started_at, int(alone), 0 if alone else len(tokens))
            self._context.remove(0)

    def _planned_work(self) -> Work:
        decoding = sum(sequence.length - sequence.held == 1 for sequence in self._running)
        step_s = self._max_step_s if decoding else _ALONE_STEP_S
        budget = self._costs.prefill_tokens(step_s, decoding)
        waiting = [] if self._crowded and self._running else self._waiting
        planned: Plan = plan(self._running, waiting, self._limits, budget)
        for sequence in [self._running[index] for index in planned.preempt]:
            self._preempt(sequence)
        joining = self._waiting[: planned.admit] if planned.admit else []
        members = self._running + joining
        for sequence in joining:
            self._admit(sequence)
        return [(members[index], 1) for index in planned.decode] + [
            (members[index], tokens) for index, tokens in planned.prefill
        ]

    def _suspect_work(self) -> Work:
        sequence = self._suspects[0]
        return [(sequence, min(sequence.length - sequence.held, self._limits.batch_tokens))]

    def _decode(self, work: Work) -> int:
        """As Context.decode. A batch that llama.cpp would die of counts as failed."""
        batch = self._batch
        try:
            batch.clear()
            for sequence, tokens in work:
                end = sequence.held + tokens
                part = sequence.history[sequence.held : end]
                batch.add(sequence.seq_id, part, sequence.held, want_last=end == sequence.length)
            batch.check()
        except ValueError:
            log.exception("a batch was refused before decoding")
            return -1
        return self._context.decode(batch.raw)

    def _sample(self, work: Work) -> None:
        row = -1
        for sequence, tokens in work:
            row += tokens
            sequence.held += tokens
            if sequence in self._suspects:
                self._suspects.remove(sequence)
            if sequence.held < sequence.length:
                continue
            token = self._context.sample(sequence.chain, row)
            if sequence.owner.first_token_at is None:
                sequence.owner.first_token_at = self._clock()
            if token in self._end_tokens:
                delta = sequence.end()
            else:
                delta = sequence.append(token, self._vocabulary.piece(token))
            if delta is not None:
                self._outputs.append(delta)
            if sequence.finish_reason is not None:
                self._finish(sequence)

    # --- joining and leaving -----------------------------------------------------------------------------

    def _admit(self, sequence: Sequence) -> None:
        self._waiting.remove(sequence)
        sequence.seq_id = self._free_ids.pop()
        if sequence.chain is None:
            sequence.chain = sequence.make_chain()
        insort(self._running, sequence, key=_by_rank)
        owner = sequence.owner
        if owner.started_at is None:
            owner.started_at = self._clock()
            self.announce(owner.job.id)

    def _preempt(self, sequence: Sequence) -> None:
        """Take a sequence's cells; it waits in its old place and computes them anew. Its sampler lives on."""
        self._leave_cache(sequence)
        insort(self._waiting, sequence, key=_by_rank)
        self._preemptions += 1

    def _leave_cache(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self._context.remove(sequence.seq_id)
        self._free_ids.append(sequence.seq_id)
        sequence.seq_id, sequence.held = -1, 0
        if sequence in self._suspects:
            self._suspects.remove(sequence)

    def _discard(self, sequence: Sequence) -> None:
        """A sequence that will not go on, whatever it was doing."""
        if sequence.seq_id >= 0:
            self._leave_cache(sequence)
            self._crowded = False
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        if sequence.chain is not None:
            free_chain(sequence.chain)
            sequence.chain = None

    def _finish(self, sequence: Sequence) -> None:
        self._discard(sequence)
        owner = sequence.owner
        self._outputs.append(ItemDone(owner.job.id, sequence.item, sequence.result()))
        owner.open_items -= 1
        if owner.open_items == 0:
            del self._jobs[owner.job.id]
            self._outputs.append(Finished(owner.job.id, self._timings(owner)))

    def _drop(self, job_id: str) -> JobState | None:
        state = self._jobs.pop(job_id, None)
        if state is not None:
            for sequence in state.sequences:
                self._discard(sequence)
        return state

    # --- when a decode fails -----------------------------------------------------------------------------

    def _make_room(self) -> None:
        """The cache found no cells for this batch; it is as it was before."""
        if len(self._running) > 1:
            self._crowded = True
            self._preempt(self._running[-1])
        else:
            self._fail(self._running[0], "out_of_memory", "the model's cache has no room for this request")

    def _recover(self, work: Work, result: int) -> None:
        """Somebody in this batch makes it fail: each is tried alone once, and fails if that fails again."""
        log.error("llama_decode failed with %d on %d sequences", result, len(work))
        for sequence, _ in work:
            self._resync(sequence)
        if self._suspects:
            kind: FailureKind = "out_of_memory" if result == _ALLOCATION_FAILED else "internal"
            self._fail(self._suspects[0], kind, f"the model failed on this request ({result})")
        else:
            self._suspects = [sequence for sequence, _ in work]

    def _resync(self, sequence: Sequence) -> None:
        """Trust only what the cache says it holds; the newest token is decoded again, for its logits."""
        sequence.held = min(self._context.held(sequence.seq_id), sequence.length - 1)
        if not self._context.remove(sequence.seq_id, sequence.held):
            self._context.remove(sequence.seq_id)
            sequence.held = 0

    def _fail(self, sequence: Sequence, kind: FailureKind, message: str) -> None:
        job_id = sequence.owner.job.id
        self._drop(job_id)
        self._outputs.append(Failed(job_id, kind, message))

    # --- making sequences --------------------------------------------------------------------------------

    def _check_prompt(self, prompt: TokenArray) -> None:
        if len(prompt) == 0 or int(prompt.min()) < 0 or int(prompt.max()) >= self._vocabulary.size:
            raise JobError("the prompt is empty or holds a token outside the vocabulary", param="prompt")
        if len(prompt) >= self._context_length:
            raise JobError(
                f"This model's maximum context length is {self._context_length} tokens. "
                f"However, your prompt has {len(prompt)} tokens.",
                param="prompt",
                code="context_length_exceeded",
            )

    def _sequence(self, state: JobState, item: int, prompt: TokenArray) -> Sequence:
        parameters = state.job.parameters
        assert isinstance(parameters, GenerateParameters)
        room = self._context_length - len(prompt)
        wanted = parameters.max_tokens or int(self._defaults.get("max_tokens", room))
        sampling = resolve(parameters, self._defaults)
        bias = dict(parameters.logit_bias) | dict.fromkeys(self._suppressed, -np.inf)
        if parameters.ignore_eos:
            bias |= dict.fromkeys(self._end_tokens, -np.inf)
        seed = choose_seed(parameters.seed)
        window = sampling.repeat_last_n if sampling.repeat_last_n >= 0 else len(prompt)

        def make_chain() -> Any:
            tail = prompt[max(len(prompt) - window, 0) :].tolist()
            return build_chain(
                sampling,
                bias,
                seed=seed,
                n_vocab=self._vocabulary.size,
                n_ctx=self._context_length,
                prompt=tail,
            )

        sequence = Sequence(state, item, prompt, max(min(wanted, room), 1), make_chain)
        sequence.rank = (-state.job.priority, next(self._arrivals))
        return sequence

    def _timings(self, state: JobState) -> Timings:
        now = self._clock()
        started_at = state.started_at if state.started_at is not None else now
        first_at = state.first_token_at if state.first_token_at is not None else now
        return Timings(
            queue_s=started_at - state.added_at, prefill_s=first_at - started_at, decode_s=now - first_at
        )
