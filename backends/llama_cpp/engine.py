"""The step loop: many sequences of many jobs in each decode call.

Owns what happens in a step, and what is told of it. Who runs and who waits is the roster's business, what a
step contains the planner's, where cells come from the cache's; sequences know what a token does to them.
Python stays out of the token path: sampling happens in C, and a step costs a few calls for each running
sequence.
"""

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np

from backends.base import JobError, StepEngine
from backends.llama_cpp.adapters import LoraSets
from backends.llama_cpp.arrivals import Arrivals
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.cache import Cache
from backends.llama_cpp.decoding import Decoder, Decoding, Work, add_prefill
from backends.llama_cpp.encoder import MediaReader
from backends.llama_cpp.guide import GuideError, Guides
from backends.llama_cpp.making import SequenceMaker
from backends.llama_cpp.model import Model
from backends.llama_cpp.planner import CostModel, Limits, Plan, plan, plan_apart
from backends.llama_cpp.roster import Comings, Roster
from backends.llama_cpp.sequence import JobState, Sequence
from backends.llama_cpp.speculation import WARM_UP_ROWS
from backends.llama_cpp.speculator import Speculator
from backends.llama_cpp.writing import Writer
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
)

log = logging.getLogger(__name__)

_ALONE_STEP_S = 0.4
"""Where nothing streams, a step of prefill lasts about this long: an abort must not wait for it all."""
_PROMPT_LOGITS = 64
"""Rows of a prompt whose logits are all wanted, in one step: each row is as long as the vocabulary."""
_NO_ROOM, _ALLOCATION_FAILED = 1, -2


class LlamaEngine(StepEngine[PreparedPrompt]):
    """`context_length` bounds one sequence; `max_step_s` is what a step may last while answers stream.

    `apart`: answers must not depend on their company, and prompts are computed alone in pieces of so many
    tokens; 0: company is welcome. `reader`: of pictures and sound, where the model takes them.
    """

    def __init__(
        self,
        model: Model,
        context: Decoder,
        cache: Cache,
        *,
        sequences: int,
        defaults: Mapping[str, float],
        context_length: int,
        max_step_s: float,
        apart: int = 0,
        guides: Guides | None = None,
        adapters: LoraSets | None = None,
        speculator: Speculator | None = None,
        reader: MediaReader | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._context = context
        self._cache = cache
        self._max_step_s = max_step_s
        self._apart = apart
        self._guides = guides
        self._adapters = adapters
        self._speculator = speculator
        self._clock = clock
        vocabulary = model.vocabulary
        self._vocabulary_size = vocabulary.size
        self._writer = Writer(context, vocabulary, by_token=bool(apart))
        self._maker = SequenceMaker(
            vocabulary, defaults, min(context_length, context.n_ctx), guides=guides, adapters=adapters
        )
        self._decoding = Decoding(context, vocabulary.size, in_order=cache.partitioned)
        headroom = 0 if cache.partitioned else 16
        self._limits = Limits(context.n_ctx, sequences, context.n_batch, headroom=headroom)
        self._costs = CostModel()
        self._roster = Roster(cache, sequences, speculator)
        self._arrivals = Arrivals(reader, clock)
        self._spans: Work = []
        """What this step decodes from embeddings, each by itself."""
        self._outputs: list[Output] = []
        self._stats = StepStats()
        self._agreed = 0
        """Drafted tokens that came true in this step."""

    # --- taking jobs on and giving them up ---------------------------------------------------------------

    def add(self, job: Job, items: list[PreparedPrompt]) -> None:
        if not isinstance(job.parameters, GenerateParameters):
            raise JobError("this model only generates text", param="model")
        if job.parameters.reproducible and not self._apart:
            raise JobError("this model's answers depend on their company", param="reproducible")
        state = JobState(job, self._clock())
        if any(item.media for item in items):
            self._arrivals.add(state, items)
            return
        state.sequences = self._maker.sequences(state, items)
        self._roster.add(state)

    def abort(self, job_id: str) -> bool:
        return self._roster.drop(job_id) or self._arrivals.drop(job_id)

    def requeue(self, max_queued: int) -> list[str]:
        dropped = self._arrivals.requeue(max_queued)
        return dropped + self._roster.requeue(max(max_queued - len(self._arrivals), 0))

    def has_work(self) -> bool:
        return not self._roster.idle or len(self._arrivals) > 0

    def capacity(self) -> Capacity:
        return Capacity(
            free_sequences=self._roster.free_places,
            free_kv_tokens=max(self._limits.cells - self._roster.promised, 0),
            queued=len(self._roster.waiting) + len(self._arrivals),
            received=0,
        )

    def stats(self) -> StepStats:
        return self._stats

    def close(self) -> None:
        """Free everything. The engine must not be used after that."""
        for job_id in list(self._roster.jobs):
            self._roster.drop(job_id)
        self._arrivals.close()
        if self._speculator is not None:
            self._speculator.close()
        if self._guides is not None:
            self._guides.close()
        self._cache.close()
        self._context.close()
        if self._adapters is not None:
            self._adapters.close()
        self._model.close()

    # --- one step ----------------------------------------------------------------------------------------

    def step(self) -> list[Output]:
        started_at = self._clock()
        self._outputs = []
        self._roster.comings = Comings()
        self._agreed = 0
        self._writer.written = 0
        if len(self._arrivals):
            self._take_arrival()
        work = self._suspect_work() if self._roster.suspects else self._planned_work()
        decoding = [sequence for sequence, _ in work if sequence.answering]
        decode_rows = sum(sequence.length - sequence.held for sequence in decoding)
        prefill_tokens = sum(tokens for _, tokens in work) - decode_rows
        drafted = sum(len(sequence.draft) for sequence in decoding)
        result = self._decoding.decode(work) if work else 0
        if result == 0:
            if work:
                rows = decode_rows + drafted
                self._learn(self._clock() - started_at, len(decoding), rows, prefill_tokens)
            self._sample(work)
            prefill_tokens += self._decode_spans()
        elif result == _NO_ROOM:
            self._make_room(work)
        else:
            self._recover(work, result)
        self._stats = StepStats(
            step_s=self._clock() - started_at,
            running=len(self._roster.running),
            batch_items=len(decoding),
            prefill_tokens=prefill_tokens,
            decode_tokens=self._writer.written,
            kv_used=self._roster.cells_in_use,
            kv_total=self._limits.cells,
            preemptions=self._roster.comings.preempted,
            prefix_queries=self._roster.comings.asked,
            prefix_hits=self._roster.comings.found,
            draft_tokens=drafted,
            draft_accepted=self._agreed,
        )
        return self._outputs

    def warm_up(self) -> None:
        """Prefill and decode for real, once untimed and then timed: the first plan needs the costs."""
        length = min(64, self._limits.batch_tokens)
        prompt = np.arange(length, dtype=np.int32) % self._vocabulary_size
        self._arrivals.warm_up()
        for timed in (False, True):
            position = 0
            for tokens in (prompt, prompt[:1], prompt[:1]):
                step_s = self._decoding.timed(tokens, position, wanted=1, clock=self._clock)
                position += len(tokens)
                if timed:
                    alone = len(tokens) == 1
                    self._costs.measured(step_s, int(alone), 0 if alone else len(tokens))
            self._context.remove(0)
        if self._speculator is not None:
            for rows in (rows for rows in WARM_UP_ROWS if rows <= self._limits.batch_tokens):
                took_s = self._decoding.timed(prompt[:rows], 0, wanted=rows, clock=self._clock)
                self._speculator.measured(rows, took_s)
                self._context.remove(0)

    def _learn(self, step_s: float, decoding: int, rows: int, prefill_tokens: int) -> None:
        if rows == decoding or prefill_tokens:
            self._costs.measured(step_s, decoding, prefill_tokens)
        if self._speculator is not None and rows and not prefill_tokens:
            self._speculator.measured(rows, step_s)

    def _take_arrival(self) -> None:
        """A job whose pictures and sound have been read joins those that wait for a place."""
        self._arrivals.begin(self.announce)
        arrived = self._arrivals.take(self._maker, idle=self._roster.idle)
        if isinstance(arrived, Failed):
            self._outputs.append(arrived)
        elif arrived is not None:
            self._roster.add(arrived)

    def _planned_work(self) -> Work:
        self._spans = []
        if self._roster.idle:  # all there is are pictures being encoded
            return []
        key, stepping = self._roster.whose_turn()
        waiting = self._roster.may_join(key)
        planned = self._plan(waiting, stepping)
        for sequence in [self._roster.running[index] for index in planned.preempt]:
            self._roster.preempt(sequence)
        joining = waiting[: planned.admit]
        members = self._roster.running + joining
        for sequence in joining:
            if sequence in self._roster.waiting:  # an answer to the same job may have failed just now
                self._admit(sequence)
        self._roster.compact()
        decode = [one for one in (members[index] for index in planned.decode) if one.seq_id >= 0]
        work = [(one, one.length - one.held) for one in decode]
        # One that joins may hold more than was planned, or may have failed at once.
        for one, tokens in [(members[index], tokens) for index, tokens in planned.prefill]:
            if one.seq_id >= 0:
                most = _PROMPT_LOGITS if one.prompt_logprobs is not None else tokens
                add_prefill(work, self._spans, one, min(tokens, most, one.length - one.held))
        if self._speculator is not None and len(decode) == len(work):
            able = [one for one in decode if not one.forced and one.media is None]
            self._speculator.draft(able, self._draft_room(work))
        whole = work + self._spans if self._spans else work
        if whole and self._adapters is not None:
            self._adapters.use(whole[0][0].owner.parameters.adapters)
        self._cache.make_room(sum(tokens + len(one.draft) for one, tokens in whole))
        return work

    def _draft_room(self, work: Work) -> int:
        """Rows and cells that are left for drafts: nobody has to leave for them."""
        tokens = sum(tokens for _, tokens in (*work, *self._spans))
        cells = self._limits.cells - self._roster.cells_in_use
        return max(min(self._limits.batch_tokens, cells) - tokens, 0)

    def _plan(self, waiting: list[Sequence], stepping: list[bool] | None) -> Plan:
        if self._apart:
            return plan_apart(self._roster.running, waiting, self._limits, self._apart, stepping=stepping)
        decoding = sum(sequence.answering for sequence in self._roster.running)
        step_s = self._max_step_s if decoding else _ALONE_STEP_S
        budget = self._costs.prefill_tokens(step_s, decoding)
        crowd = self._roster.promised + self._limits.headroom * (self._limits.sequences + 1)
        cells = self._roster.needs() if crowd > self._limits.cells else None
        return plan(self._roster.running, waiting, self._limits, budget, cells=cells, stepping=stepping)

    def _suspect_work(self) -> Work:
        sequence = self._roster.suspects[0]
        if self._adapters is not None:
            self._adapters.use(sequence.owner.parameters.adapters)
        self._spans = []
        work: Work = []
        add_prefill(
            work, self._spans, sequence, min(sequence.length - sequence.held, self._limits.batch_tokens)
        )
        return work

    def _decode_spans(self) -> int:
        """One after the other, as far as that goes; how many tokens."""
        done = 0
        for sequence, tokens in self._spans:
            if sequence.seq_id < 0:  # it has failed in this very step
                continue
            result = self._decoding.decode_span(sequence, tokens)
            if result == _NO_ROOM:
                self._make_room([(sequence, tokens)])
                break
            if result:
                self._recover([(sequence, tokens)], result)
                break
            self._cache.grow(sequence.seq_id, tokens)
            self._roster.clear(sequence)
            sequence.held += tokens
            done += tokens
        self._spans = []
        return done

    def _sample(self, work: Work) -> None:
        row = 0
        rows = [tokens + len(sequence.draft) for sequence, tokens in work]
        for (sequence, tokens), own in zip(work, rows, strict=True):
            first, row = row, row + own
            if sequence.seq_id < 0:  # a sequence of the same job has failed in this very step
                continue
            self._cache.grow(sequence.seq_id, own)
            self._roster.clear(sequence)
            try:
                if sequence.prompt_logprobs is not None:
                    self._writer.note_prompt(sequence, first, tokens)
                sequence.held += tokens
                if sequence.held == sequence.length:
                    self._answer(sequence, first + tokens - 1)
            except GuideError as error:
                self._fail(sequence, "invalid_request", str(error), code="grammar_failed")

    def _answer(self, sequence: Sequence, row: int) -> None:
        """The next token, and those after it that a draft foretold."""
        owner = sequence.owner
        if owner.first_token_at is None:
            owner.first_token_at = self._clock()
        agreed = self._writer.write(sequence, row, self._outputs)
        sequence.held += agreed
        if agreed < len(sequence.draft):
            position = sequence.held + sequence.shift
            if not self._cache.cut(sequence.seq_id, sequence.held, position):
                sequence.held = 0
        self._judge(sequence, agreed)
        if sequence.finish_reason is not None:
            self._finish(sequence)

    def _judge(self, sequence: Sequence, agreed: int) -> None:
        sequence.drafted += agreed
        self._agreed += agreed
        if self._speculator is not None:
            self._speculator.judged(sequence, agreed)

    # --- joining and leaving -----------------------------------------------------------------------------

    def _admit(self, sequence: Sequence) -> None:
        try:
            self._roster.join(sequence)
        except GuideError as error:
            self._fail(sequence, "invalid_request", str(error), code="grammar_failed")
            return
        owner = sequence.owner
        if owner.started_at is None:
            owner.started_at = self._clock()
            self.announce(owner.job.id)

    def _finish(self, sequence: Sequence) -> None:
        if (delta := sequence.answer.finish()) is not None:
            self._outputs.append(delta)
        self._roster.discard(sequence)
        owner = sequence.owner
        self._outputs.append(ItemDone(owner.job.id, sequence.index, sequence.result()))
        owner.open_answers -= 1
        if owner.open_answers == 0:
            del self._roster.jobs[owner.job.id]
            self._outputs.append(Finished(owner.job.id, owner.timings(self._clock())))

    # --- when a decode fails -----------------------------------------------------------------------------

    def _make_room(self, work: Work) -> None:
        """The cache found no cells for this batch; it is as it was before."""
        for sequence, _ in work:
            sequence.draft = []
        if self._cache.give_up_all():
            return
        if len(self._roster.running) > 1:
            self._roster.crowded = True
            self._roster.preempt(self._roster.running[-1])
        else:
            self._fail(
                self._roster.running[0], "out_of_memory", "the model's cache has no room for this request"
            )

    def _recover(self, work: Work, result: int) -> None:
        """Somebody in this batch makes it fail: each is tried alone once, and fails if that fails again."""
        log.error("llama_decode failed with %d on %d sequences", result, len(work))
        for sequence, _ in work:
            self._roster.trust(sequence, self._context.held(sequence.seq_id))
        if self._roster.suspects:
            kind: FailureKind = "out_of_memory" if result == _ALLOCATION_FAILED else "internal"
            self._fail(self._roster.suspects[0], kind, f"the model failed on this request ({result})")
        else:
            self._roster.suspects = [sequence for sequence, _ in work]

    def _fail(self, sequence: Sequence, kind: FailureKind, message: str, *, code: str = "") -> None:
        job_id = sequence.owner.job.id
        # What this step computed is not told yet of all of them: nothing that could serve others.
        self._roster.drop(job_id, keep=False)
        self._outputs.append(Failed(job_id, kind, message, code=code))
