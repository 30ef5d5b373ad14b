"""A model and its cache in Python, for tests of the step loop, and what an undisturbed run of it answers.

The next token depends on every token that the cache holds, and on the adapters that each was computed with: a
token lost, doubled, put at a wrong position or taken from somebody else's cells anywhere would change the
answer.
"""

import itertools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.chat.answer import AnswerFormat
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.cache import Cache
from backends.llama_cpp.drafting import DraftRequest
from backends.llama_cpp.engine import LlamaEngine
from backends.llama_cpp.guide import GuideError
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.speculation import SpeculationPolicy
from backends.llama_cpp.speculator import Speculator
from backends.protocol import GenerateParameters, ItemDone, Job, Output, Started, Text
from tests.unit.backends.llama_cpp.pictures import FakeReader, prepared, shows

VOCABULARY = 128
END = 0


def state_of(history: Iterable[int], key: str = "") -> int:
    value = 7 + sum(key.encode())
    for token in history:
        value = (value * 31 + token + 1) % 10007
    return value


def token_of(state: int) -> int:
    return state % (VOCABULARY - 32) + 32 if state % 41 else END


def next_token(history: Iterable[int], key: str = "") -> int:
    return token_of(state_of(history, key))


def answer(prompt: list[int], max_new: int, key: str = "") -> tuple[str, str]:
    """What a run undisturbed must give, and why it ends."""
    history = prompt.copy()
    while len(history) - len(prompt) < max_new:
        token = next_token(history, key)
        if token == END:
            return "".join(map(chr, history[len(prompt) :])), "stop"
        history.append(token)
    return "".join(map(chr, history[len(prompt) :])), "length"


def logits_of(state: int) -> NDArray[np.float32]:
    """Most of the probability is on the token that is sampled; the rest tells which state it was."""
    logits = ((np.arange(VOCABULARY) * state) % 97 / 97).astype(np.float32)
    logits[token_of(state)] = 5.0
    return logits


class FakeVocabulary:
    size = VOCABULARY

    def piece(self, token: int) -> bytes:
        return chr(token).encode()

    written = piece

    def end_tokens(self) -> frozenset[int]:
        return frozenset({END})

    def suppressed_tokens(self) -> list[int]:
        return []


class FakeModel:
    vocabulary = FakeVocabulary()
    closed = False

    def close(self) -> None:
        self.closed = True


@dataclass(eq=False)
class Cell:
    token: int
    """Of a picture: the number of its row."""
    key: str = ""
    position: int = 0
    after: int = 1
    """Where what follows stands."""
    left: int = 0
    """Rows of the picture that are still to come."""


@dataclass
class Row:
    seq_id: int
    token: int
    position: int
    wanted: bool
    after: int
    rows: int = 0
    """Of its picture in all; 0: it is text."""


def rows_in(batch: Any) -> list[Row]:
    """What a batch of tokens, or one of embeddings, holds."""
    found = []
    for row in range(batch.n_tokens):
        seq_id, position, wanted = batch.seq_id[row][0], batch.pos[row], bool(batch.logits[row])
        if batch.embd:
            token, after, rows = (int(batch.embd[3 * row + column]) for column in range(3))
            found.append(Row(seq_id, token, position, wanted, after, rows))
        else:
            found.append(Row(seq_id, batch.token[row], position, wanted, position + 1))
    return found


class FakeDecoder:
    """A cache shared by all sequences. `fault` may fail a decode, given the tokens of each sequence in it.

    `partitioned`: each sequence has cells of its own, which can only be copied whole, and that at
    the next decode: until then they hold what they held before.
    """

    def __init__(
        self, n_ctx: int = 256, n_batch: int = 64, n_seq_max: int = 4, *, partitioned: bool = False
    ) -> None:
        self.n_ctx, self.n_batch, self.n_seq_max = n_ctx, n_batch, n_seq_max
        self.partitioned = partitioned
        self.cells: dict[int, list[Cell]] = {}
        self.contents: dict[int, list[int]] = {}
        """Partitioned: the tokens that a sequence's cells are really filled with."""
        self.copying: list[tuple[int, int]] = []
        self.states: list[int | None] = []
        """Of each row of the last batch; None where no logits were wanted."""
        self.batches: list[dict[int, list[int]]] = []
        """Tokens by sequence of every batch that was decoded."""
        self.fault: Callable[[dict[int, list[int]]], int] = lambda _: 0
        self.key = ""
        self.copies = 0
        self.gaps = 0
        self.closed = False

    def decode_whole(self, batch: Any) -> int:
        rows = rows_in(batch)
        assert [row.token for row in rows] == [rows[0].token + index for index in range(rows[0].rows)]
        return self.decode(batch)

    def decode(self, batch: Any) -> int:
        assert 0 < batch.n_tokens <= self.n_batch
        rows = rows_in(batch)
        added: dict[int, list[int]] = {}
        for row in rows:
            added.setdefault(row.seq_id, []).append(row.token)
        # Sequences with ids that do not follow one another are decoded run by run: correct, but slow.
        self.gaps += max(added) - min(added) + 1 - len(added)
        result = self.fault(added)
        if result == 1 or not self._has_room(added):
            return 1
        if result < 0:
            return result
        self._copy_now()
        assert all(self._is_filled(seq_id) for seq_id in added), "somebody else's cells"
        self.states = []
        for row in rows if result == 0 else rows[: len(rows) // 2]:
            self._add(row)
        if result == 0:
            self.batches.append(added)
        return result

    def _add(self, row: Row) -> None:
        held = self.cells.setdefault(row.seq_id, [])
        last = held[-1] if held else Cell(0, after=0)
        if last.left:
            assert (row.token, row.after) == (last.token + 1, last.after), "a picture must be whole"
        else:
            assert row.position == last.after, "positions must be consecutive"
        self.contents.setdefault(row.seq_id, [])[len(held) :] = [row.token]
        left = (last.left or row.rows) - 1 if row.rows else 0
        held.append(Cell(row.token, self.key, row.position, row.after, left))
        assert all(cell.key == self.key for cell in held), "cells of other adapters must not be used"
        state = state_of((cell.token for cell in held), self.key)
        self.states.append(state if row.wanted else None)

    def _has_room(self, added: Mapping[int, list[int]]) -> bool:
        if self.partitioned:
            most = self.n_ctx // self.n_seq_max
            return all(
                len(self.cells.get(seq_id, [])) + len(tokens) <= most for seq_id, tokens in added.items()
            )
        return self.used + sum(map(len, added.values())) <= self.n_ctx

    def _state(self, row: int) -> int:
        state = self.states[row]
        assert state is not None, "this row has no logits"
        return state

    def sample(self, chain: Any, row: int) -> int:
        return token_of(self._state(row))

    def accept(self, chain: Any, token: int) -> None: ...

    def logits(self, row: int) -> NDArray[np.float32]:
        return logits_of(self._state(row))

    live_logits = logits

    def copy(self, source: int, target: int, end: int = -1) -> None:
        assert not self.cells.get(target), "the target must be empty"
        held = self.cells[source]
        assert (end == -1) if self.partitioned else (0 < end <= held[-1].after)
        self.copies += 1
        if self.partitioned:
            self.cells[target] = [replace(cell) for cell in held]
            self.copying.append((source, target))
        else:
            self.cells[target] = [cell for cell in held if cell.position < end]

    def _copy_now(self) -> None:
        for source, target in self.copying:
            self.contents[target] = self.contents[source].copy()
        self.copying.clear()

    def _is_filled(self, seq_id: int) -> bool:
        tokens = self.tokens(seq_id)
        return not self.partitioned or self.contents.get(seq_id, [])[: len(tokens)] == tokens

    def state(self, seq_id: int) -> memoryview:
        key = "".join({cell.key for cell in self.cells[seq_id]}).encode()
        tokens = self.contents[seq_id][: self.held(seq_id)] if self.partitioned else self.tokens(seq_id)
        return memoryview(bytes([len(key), *key, *tokens]))

    def restore(self, seq_id: int, data: bytes | bytearray | memoryview) -> bool:
        assert not self.cells.get(seq_id), "the target must be empty"
        width, *rest = bytes(data)
        key, tokens = bytes(rest[:width]).decode(), rest[width:]
        if not self._has_room({seq_id: tokens}):
            return False
        self.cells[seq_id] = [Cell(token, key, place, place + 1) for place, token in enumerate(tokens)]
        self.contents[seq_id] = tokens
        return True

    def remove(self, seq_id: int, start: int = 0) -> bool:
        self.cells[seq_id] = [cell for cell in self.cells.get(seq_id, []) if cell.position < start]
        return True

    def held(self, seq_id: int) -> int:
        return max((cell.position + 1 for cell in self.cells.get(seq_id, [])), default=0)

    def tokens(self, seq_id: int) -> list[int]:
        return [cell.token for cell in self.cells.get(seq_id, [])]

    def close(self) -> None:
        self.closed = True

    @property
    def used(self) -> int:
        """Cells in use; one may be of several sequences."""
        return len({id(cell) for held in self.cells.values() for cell in held})

    @property
    def sizes(self) -> list[int]:
        """Rows of each batch."""
        return [sum(map(len, batch.values())) for batch in self.batches]


class FakeAdapters:
    def __init__(self, decoder: FakeDecoder) -> None:
        self._decoder = decoder

    def key(self, asked: Mapping[str, float]) -> str:
        return ",".join(sorted(asked))

    def use(self, asked: Mapping[str, float]) -> None:
        self._decoder.key = self.key(asked)

    def close(self) -> None: ...


class FakeDrafter:
    """Right for some tokens, then wrong; sometimes it has nothing to say. It knows no adapters."""

    token_s = 0.0

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self.known: set[int] = set()

    def propose(self, wanted: list[DraftRequest]) -> list[list[int]]:
        return [self._guess(request) for request in wanted]

    def _guess(self, request: DraftRequest) -> list[int]:
        self.known.add(request.key)
        history = request.tokens.tolist()
        draft: list[int] = []
        for _ in range(self._random.randint(0, request.most)):
            right = next_token(history + draft)
            draft.append(right if self._random.random() < 0.8 else self._random.randrange(VOCABULARY))
        return draft

    def accepted(self, key: int, proposed: int, accepted: int) -> None:
        assert key in self.known
        assert 0 <= accepted <= proposed

    def forget(self, key: int) -> None:
        self.known.discard(key)

    def close(self) -> None: ...


class FakeGuide:
    """Wants exactly the undisturbed answer, and sometimes says so beforehand.

    It breaks once it has been asked `breaks_at` times, if that is not 0.
    """

    stopped = False
    forbids = True

    def __init__(self, prompt: list[int], key: str, breaks_at: int) -> None:
        self._history = prompt
        self._key = key
        self._left = breaks_at

    def mask(self, logits: NDArray[np.float32]) -> None:
        self._left -= 1
        if self._left == 0:
            raise GuideError("the grammar broke")

    def forced(self) -> list[int]:
        tokens: list[int] = []
        for _ in range(state_of(self._history) % 4):
            token = next_token(self._history + tokens, self._key)
            if token == END:
                break
            tokens.append(token)
        return tokens

    def allowed(self, tokens: Sequence[int]) -> int:
        for count, token in enumerate(tokens):
            if token != next_token([*self._history, *tokens[:count]], self._key):
                return count
        return len(tokens)

    def accept(self, token: int) -> None:
        assert token == next_token(self._history, self._key)
        self._history.append(token)


class FakeGuides:
    """A grammar is written as `prompt tokens|adapters' key|breaks_at`; `refused` is one that is none."""

    def guide(self, grammar: str, triggers: Sequence[str], format: AnswerFormat) -> Any:
        if grammar == "refused":
            raise GuideError("this is no grammar")
        prompt, key, breaks_at = grammar.split("|")
        return FakeGuide([int(token) for token in prompt.split()], key, int(breaks_at))

    def close(self) -> None: ...


class Bench:
    """An engine on a fake decoder, and everything it has said. `apart`: as LlamaEngine's, and nothing shared.

    `partitioned`: cells of one's own, with what is shared copied, and states saved.
    """

    def __init__(
        self,
        sequences: int = 4,
        kept: int = 0,
        *,
        apart: int = 0,
        partitioned: bool = False,
        drafter: FakeDrafter | None = None,
        reader: FakeReader | None = None,
        **limits: int,
    ) -> None:
        self.reader = reader or FakeReader()
        parts = partitioned or apart > 0
        self.decoder = FakeDecoder(n_seq_max=sequences + kept, partitioned=parts, **limits)
        self.model = FakeModel()
        self.cache = Cache(
            self.decoder,
            size=self.decoder.n_ctx,
            sequences=sequences,
            kept=kept,
            partitioned=parts,
            copies=partitioned,
            saved=SavedStates(host_bytes=2000, disk=None, disk_bytes=1, fingerprint="")
            if partitioned
            else None,
        )
        self.drafter = drafter
        ticks = itertools.count()
        share = self.decoder.n_ctx // sequences if parts else 200
        self.engine = LlamaEngine(
            self.model,  # type: ignore[arg-type]
            self.decoder,
            self.cache,
            sequences=sequences,
            defaults={},
            context_length=min(share, 200),
            max_step_s=0.1,
            apart=apart,
            guides=FakeGuides(),
            adapters=FakeAdapters(self.decoder),
            speculator=Speculator(drafter, SpeculationPolicy()) if drafter else None,
            reader=self.reader,
            clock=lambda: next(ticks) * 0.001,
        )
        self.outputs: list[Output] = []
        self.engine.announce = lambda job_id: self.outputs.append(Started(job_id))

    def add(
        self,
        job_id: str,
        *prompts: list[int],
        stream: bool = False,
        priority: int = 0,
        grammar: str = "",
        **kw: Any,
    ) -> None:
        parameters = GenerateParameters(temperature=0.0, **kw)
        items = [
            prepared(prompt)
            if shows(prompt)
            else PreparedPrompt(
                np.array(prompt, dtype="<i4").tobytes(),
                grammar=grammar,
                echo="".join(map(chr, prompt)) if parameters.echo else "",
            )
            for prompt in prompts
        ]
        texts = [Text("") for _ in prompts]
        job = Job(job_id, "m", "generate", parameters, texts, stream=stream, priority=priority)
        self.engine.add(job, items)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.outputs += self.engine.step()
            self.check()

    def run(self) -> None:
        for _ in range(5000):
            if not self.engine.has_work():
                return
            self.step()
        raise AssertionError("the engine does not come to an end")

    def check(self) -> None:
        """The engine, its count of cells and the cache agree about who holds what."""
        cells = self.cache.cells
        holders = [*self.engine._roster.holders(), *self.cache._kept.values()]
        for holder in holders:
            assert self.decoder.tokens(holder.seq_id) == self.reader.values(holder.tokens.tolist())
            assert cells.length(holder.seq_id) == len(holder.tokens)
        assert cells.total == self.decoder.used
        ids = [holder.seq_id for holder in holders]
        assert sorted(ids + self.cache._free_ids) == list(range(self.decoder.n_seq_max))

    def check_rest(self) -> None:
        """Nothing runs, and nothing but what is kept on purpose is left."""
        self.check()
        assert not self.engine._roster.holders()
        assert self.decoder.used == self.cache.kept_cells
        assert self.engine.capacity().free_kv_tokens == self.decoder.n_ctx

    def of(self, kind: type, job_id: str) -> list[Any]:
        return [output for output in self.outputs if isinstance(output, kind) and output.job_id == job_id]

    def done(self, job_id: str, item: int = 0) -> ItemDone:
        done: list[ItemDone] = [output for output in self.of(ItemDone, job_id) if output.item == item]
        assert len(done) == 1
        return done[0]

    def text(self, job_id: str, item: int = 0) -> str:
        return self.done(job_id, item).result.text
