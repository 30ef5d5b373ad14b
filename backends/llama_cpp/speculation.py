"""Decides how many drafted tokens each sequence may add to a step, so that most tokens come out per second.

Pure: no library, no clock. A draft of d tokens, each of which agrees with probability p if those before it
do, brings p + p^2 + … + p^d tokens and costs d rows, whether it agrees or not. So the next row goes where the
next power is largest, as long as the whole step yields more tokens per second than without any.

What a sequence's p is can only be seen by trying. Where trying does not pay, it is done rarely: of the time
of all steps, at most a fixed share goes into trials.
"""

from collections.abc import Sequence
from itertools import count

from msgspec import Struct

from backends.llama_cpp.step_costs import StepCosts

WARM_UP_ROWS = (1, 2, 4, 8, 16)
"""Steps that are worth timing before the first request: on a GPU all of them cost about the same."""

_MOST = 16
"""Longest draft."""
_TRIAL_TOKENS = 3
_TRIAL_SHARE = 0.02
"""Of the steps' time, what trials may cost."""
_TRIALS_SAVED = 10.0
"""Credit for so many trials can be saved up: they must not come all at once."""
_MARGIN = 1.02
"""What speculation must promise at least; less is within what the costs are known to."""
_MEMORY = 0.9
"""What the past still counts once a draft has been judged."""
_PRIOR_WEIGHT = 2.0
"""Tokens of a sequence's own that count as much as what is known of all sequences."""
_LEAST_OFFERED = 0.05
_LEAST_GAIN = 0.01
"""Tokens; a row that promises less is not looked at."""


class Candidate(Struct, frozen=True):
    key: int
    most: int
    """Drafted tokens that it has room for; or that have been drafted."""


class SpeculationPolicy:
    """Feed it with `measured` for steps without prefill, `observed` for each that was allowed a draft."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._costs = StepCosts()
        self._all = _Record(agreed=1.0, failed=1.0)
        self._offered = 1.0
        """The share of allowed drafts in which the drafter had something to offer."""
        self._records: dict[int, _Record] = {}
        self._trials: dict[int, _Trial] = {}
        self._credit_s = 0.0
        self._turns = count(1)

    def measured(self, rows: int, step_s: float) -> None:
        """A step of `rows` rows, drafted ones included, without prefill, lasted `step_s` seconds."""
        self._costs.measured(rows, step_s)
        self._credit_s += _TRIAL_SHARE * step_s

    def observed(self, key: int, proposed: int, accepted: int) -> None:
        """Of `proposed` tokens, perhaps none, the first `accepted` agreed. For each that was allowed some."""
        record = self._records.setdefault(key, _Record())
        self._offered += (float(proposed > 0) - self._offered) * (1 - _MEMORY)
        trial = self._trials.pop(key, None)
        if trial is not None:
            self._credit_s -= trial.draft_s + trial.rows_s * proposed / trial.tokens
            record.tried = next(self._turns)
        if proposed > 0:
            failed = 1.0 if accepted < proposed else 0.0
            self._all.learn(accepted, failed)
            record.learn(accepted, failed)

    def forget(self, key: int) -> None:
        self._records.pop(key, None)
        self._trials.pop(key, None)

    def acceptance(self, key: int) -> float:
        """The probability that a drafted token agrees, if all before it do."""
        prior = self._all.agreed / (self._all.agreed + self._all.failed)
        record = self._records.get(key, _NOTHING)
        seen = record.agreed + record.failed
        return (record.agreed + prior * _PRIOR_WEIGHT) / (seen + _PRIOR_WEIGHT)

    def decide(self, rows: int, candidates: Sequence[Candidate], token_s: float = 0.0) -> list[int]:
        """Tokens that each candidate may draft, in a step in which `rows` sequences decode one token anyway.

        `token_s`: what drafting one token further costs, Drafter.token_s. It may be asked again, with what
        has been drafted as `most` and no `token_s`.
        """
        self._trials.clear()
        plain_s = self._costs.step_s(rows)
        if plain_s is None:
            return [0] * len(candidates)
        allowed = self._worthwhile(rows, candidates, token_s, plain_s)
        self._add_trials(rows, candidates, token_s, allowed)
        return allowed

    def _worthwhile(
        self, rows: int, candidates: Sequence[Candidate], token_s: float, plain_s: float
    ) -> list[int]:
        """The allotment with most tokens per second; all zeros where none is better than nothing."""
        # Time spent on drafting in vain is paid for by the drafts that come of it.
        token_s /= max(self._offered, _LEAST_OFFERED)
        best_rate, best = _MARGIN * rows / plain_s, _NO_GAINS
        gains = self._gains(candidates)
        # Drafting costs by the longest draft alone: one that is cut short may make room for others.
        places = {place for _, place, _ in gains}
        for longest in sorted(places) if token_s else [max(places, default=0)]:
            within = [gain for gain in gains if gain[1] <= longest]
            tokens, depth = float(rows), 0
            for number, (gain, place, _) in enumerate(within, 1):
                tokens += gain
                depth = max(depth, place)
                step_s = self._costs.step_s(rows + number)
                assert step_s is not None
                rate = tokens / (step_s + token_s * depth)
                if rate > best_rate:
                    best_rate, best = rate, within[:number]
        allowed = [0] * len(candidates)
        for _, _, index in best:
            allowed[index] += 1
        return allowed

    def _gains(self, candidates: Sequence[Candidate]) -> list[tuple[float, int, int]]:
        """(gain, place in its draft, candidate) of every row that could be added, largest gain first."""
        gains = []
        for index, candidate in enumerate(candidates):
            acceptance = self.acceptance(candidate.key)
            gain = 1.0
            for place in range(1, min(candidate.most, self._most) + 1):
                gain *= acceptance
                if gain < _LEAST_GAIN:
                    break
                gains.append((gain, place, index))
        # Equal gains by place: a draft never has a token without the one before it.
        return sorted(gains, key=lambda row: (-row[0], row[1]))

    def _add_trials(
        self, rows: int, candidates: Sequence[Candidate], token_s: float, allowed: list[int]
    ) -> None:
        """Let some of those that got nothing try, as far as the credit goes, the longest untried first."""
        left = [index for index, candidate in enumerate(candidates) if not allowed[index] and candidate.most]
        left.sort(key=lambda index: self._records.get(candidates[index].key, _NOTHING).tried)
        spent_s = 0.0
        for index in left:
            tokens = min(_TRIAL_TOKENS, candidates[index].most)
            trial = self._trial(rows + sum(allowed), tokens, token_s)
            cost_s = trial.rows_s + trial.draft_s
            self._credit_s = min(self._credit_s, _TRIALS_SAVED * cost_s)
            spent_s += cost_s
            if spent_s > self._credit_s:
                break
            allowed[index] = tokens
            self._trials[candidates[index].key] = trial

    def _trial(self, rows: int, tokens: int, token_s: float) -> "_Trial":
        before_s, after_s = self._costs.step_s(rows), self._costs.step_s(rows + tokens)
        assert before_s is not None
        assert after_s is not None
        return _Trial(tokens, rows_s=max(after_s - before_s, 0.0), draft_s=token_s * tokens)


class _Record(Struct):
    """How drafts fared, the newer the more it counts."""

    agreed: float = 0.0
    failed: float = 0.0
    tried: int = 0
    """Turn of the last trial."""

    def learn(self, agreed: float, failed: float) -> None:
        self.agreed = self.agreed * _MEMORY + agreed
        self.failed = self.failed * _MEMORY + failed


class _Trial(Struct, frozen=True):
    tokens: int
    rows_s: float
    draft_s: float


_NO_GAINS: list[tuple[float, int, int]] = []
_NOTHING = _Record()
