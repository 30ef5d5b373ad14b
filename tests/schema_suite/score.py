"""Runs the cases through one engine, in a process of its own: a schema may be the end of it."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from tests.schema_suite.cases import Case
from tests.schema_suite.engines import ENGINES, Engine, Refused

_LIMIT_S = 20.0
"""A schema that takes longer counts as a death."""
Verdict = Literal["refused", "died", "right", "narrow", "wrong"]


class Outcome(Struct):
    """What came of one case."""

    file: str
    description: str
    verdict: Verdict = "right"
    """`narrow`: valid instances cannot be written. `wrong`: invalid ones can."""
    reason: str = ""
    accepted_invalid: list[str] = field(default_factory=list)
    rejected_valid: list[str] = field(default_factory=list)
    invalid: int = 0
    valid: int = 0
    compile_s: float = 0.0
    mask_s: list[float] = field(default_factory=list)


def run_engine(name: str, path: Path, cases: list[Case]) -> list[Outcome]:
    runner = _Runner(name, path)
    try:
        return [runner.run(case) for case in cases]
    finally:
        runner.stop()


class _Runner:
    def __init__(self, name: str, path: Path) -> None:
        self._arguments = (name, path)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=False)
        self._process.start()
        theirs.close()
        self._ours.recv_bytes()

    def run(self, case: Case) -> Outcome:
        self._ours.send_bytes(msgspec.json.encode(case))
        try:
            if self._ours.poll(_LIMIT_S):
                return msgspec.json.decode(self._ours.recv_bytes(), type=Outcome)
            reason = f"over {_LIMIT_S:g} s"
        except EOFError:
            reason = "the process died"
        self.stop()
        self._start()
        return Outcome(case.file, case.description, "died", reason)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._ours.close()


def _serve(channel: Connection, name: str, path: Path) -> None:
    engine = ENGINES[name](path)
    channel.send_bytes(b"ready")
    while True:
        try:
            case = msgspec.json.decode(channel.recv_bytes(), type=Case)
        except EOFError:
            return
        channel.send_bytes(msgspec.json.encode(_judge(engine, case)))


def _judge(engine: Engine, case: Case) -> Outcome:
    outcome = Outcome(case.file, case.description)
    started_at = time.perf_counter()
    try:
        compiled = engine.compile(case.schema)
    except Refused as refusal:
        outcome.verdict, outcome.reason = "refused", str(refusal)
        return outcome
    finally:
        outcome.compile_s = time.perf_counter() - started_at
    engine.mask_s.clear()
    for test in case.tests:
        possible = any(engine.accepts(compiled, text) for text in _texts(test.data, case.schema))
        if test.valid:
            outcome.valid += 1
            if not possible:
                outcome.rejected_valid.append(f"{test.description}: {json.dumps(test.data)[:80]}")
        else:
            outcome.invalid += 1
            if possible:
                outcome.accepted_invalid.append(f"{test.description}: {json.dumps(test.data)[:80]}")
    outcome.mask_s = engine.mask_s.copy()
    if outcome.accepted_invalid:
        outcome.verdict = "wrong"
    elif outcome.rejected_valid:
        outcome.verdict = "narrow"
    return outcome


def _texts(data: Any, schema: Any) -> Iterator[str]:
    """The value as models write it, also with its properties in the order in which the schema names them."""
    order = {name: place for place, name in enumerate(_names(schema))}
    last = len(order)

    def arrange(value: Any) -> Any:
        if isinstance(value, list):
            return [arrange(item) for item in value]
        if isinstance(value, dict):
            return {name: arrange(value[name]) for name in sorted(value, key=lambda n: order.get(n, last))}
        return value

    texts = (json.dumps(variant, ensure_ascii=False) for variant in (data, arrange(data)))
    yield from dict.fromkeys(texts)


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _names(part)
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties" and isinstance(value, dict):
                yield from value
            yield from _names(value)
