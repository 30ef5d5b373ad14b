"""Teacher-forced decoding over the backend's own model and batch classes, to compare log-probabilities.

Sequences are decoded in company, as the engine does it: decode rows first, then a bounded chunk of prefill.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backends.llama_cpp.batch import Batch
from backends.llama_cpp.load import context_params
from backends.llama_cpp.model import Context, Model, open_model
from backends.llama_cpp.sizes import Sizes
from config.parameters import LlamaCppParameters
from config.schema import ModelSpec

Floats = npt.NDArray[np.float64]


@dataclass
class Forced:
    """A prompt, the tokens forced after it, and the log-probabilities seen before each of these."""

    prompt: list[int]
    answer: list[int]
    seen: list[Floats] = field(default_factory=list)

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        return np.array(self.prompt + self.answer, dtype=np.int32)


class ForcedDecoder:
    """A model and a context as the backend makes them; `parameters` are those of a model in the file."""

    def __init__(self, path: Path, **parameters: object) -> None:
        self.parameters = LlamaCppParameters(**{"n_ctx": 8192, **parameters})  # type: ignore[arg-type]
        spec = ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source=str(path))
        self.model: Model = open_model(path)
        sizes = Sizes.of(path, self.model.metadata(), spec, self.parameters)
        params = context_params(sizes, self.parameters, spec, "cpu")
        self.context = Context(self.model, params)
        self.batch = Batch(self.context.n_batch, self.context.n_seq_max, self.model.vocabulary.size)

    def close(self) -> None:
        self.context.close()
        self.model.close()

    def greedy(self, prompt: list[int], count: int) -> Forced:
        """`count` best tokens after a prompt decoded alone."""
        forced = Forced(prompt, [])
        for _ in range(count):
            held = 0 if not forced.answer else len(forced.prompt) + len(forced.answer) - 1
            self._decode([(0, forced.tokens[held:], held)])
            forced.seen.append(self._log_probabilities(self.batch.raw.n_tokens - 1))
            forced.answer.append(int(forced.seen[-1].argmax()))
        self.context.remove(0)
        return forced

    def together(self, wanted: list[Forced], chunk: int = 96, *, leave: bool = True) -> list[Forced]:
        """The same tokens again, with as many in company as there are places.

        `leave`: those who are done free their cells, so that later ones find theirs out of order.
        """
        results = [Forced(forced.prompt, forced.answer) for forced in wanted]
        waiting = list(range(len(results)))
        places: dict[int, tuple[int, int]] = {}  # seq_id -> (index, held)
        while waiting or places:
            for seq_id in range(self.context.n_seq_max):
                if seq_id not in places and waiting and self.context.held(seq_id) == 0:
                    places[seq_id] = (waiting.pop(0), 0)
            for seq_id in self._step(results, places, chunk):
                del places[seq_id]
                if leave:
                    self.context.remove(seq_id)
        for seq_id in range(self.context.n_seq_max):
            self.context.remove(seq_id)
        return results

    def _step(self, results: list[Forced], places: dict[int, tuple[int, int]], chunk: int) -> list[int]:
        """One decode; the places of those who are done."""
        rows = []
        for seq_id, (index, held) in sorted(places.items(), key=lambda item: item[1][1] == 0):
            prompt_left = len(results[index].prompt) - held
            count = 1 if prompt_left <= 0 else min(prompt_left, chunk)
            chunk -= count if prompt_left > 0 else 0
            if count > 0:
                rows.append((seq_id, results[index].tokens[held : held + count], held))
        last_rows = self._decode(rows)
        for (seq_id, tokens, held), row in zip(rows, last_rows, strict=True):
            index = places[seq_id][0]
            end = held + len(tokens)
            if end >= len(results[index].prompt):
                results[index].seen.append(self._log_probabilities(row))
            places[seq_id] = (index, end)
        return [seq_id for seq_id, (i, _) in places.items() if len(results[i].seen) == len(results[i].answer)]

    def _decode(self, rows: list[tuple[int, npt.NDArray[np.int32], int]]) -> list[int]:
        self.batch.clear()
        last = [self.batch.add(seq_id, tokens, held, want_last=True) for seq_id, tokens, held in rows]
        self.batch.check()
        assert self.context.decode(self.batch.raw) == 0
        return last

    def _log_probabilities(self, row: int) -> Floats:
        logits = self.context.logits(row).astype(np.float64)
        logits -= logits.max()
        return logits - np.log(np.exp(logits).sum())


def largest_difference(one: Forced, other: Forced) -> float:
    """Of the log-probabilities of the forced tokens, nats."""
    pairs = zip(one.answer, one.seen, other.seen, strict=True)
    return max(abs(float(a[token] - b[token])) for token, a, b in pairs)


def first_gap(one: Forced, other: Forced) -> float:
    """How far below `one`'s best token lies the first that `other` prefers, nats; 0 if there is none."""
    for a, b in zip(one.seen, other.seen, strict=True):
        if a.argmax() != b.argmax():
            return float(a.max() - a[b.argmax()])
    return 0.0
