"""The backend by itself, without a gateway: prepare, cross the process border, compute."""

import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from letters_backend import Letters, LettersBackend

from backends.base import JobError
from backends.batch_runner import BatchRunner
from backends.protocol import EmbeddingResult, EmbedParameters, Finished, Item, ItemDone, Job, Text, Tokens
from config.schema import ModelSpec


def backend(**parameters: Any) -> LettersBackend:
    spec = ModelSpec(name="m", backend="letters", tasks=["embed"], source="x", parameters=parameters)
    return LettersBackend(spec, Path("x"))


def job(*items: Item, name: str = "1") -> Job:
    return Job(name, "m", "embed", EmbedParameters(), list(items))


def vector(result: Any) -> tuple[float, ...]:
    assert isinstance(result, EmbeddingResult)
    return struct.unpack(f"<{result.dimensions}f", result.vector)


def test_it_counts_letters() -> None:
    made = backend()
    prepared = made.preparer().prepare(job(Text("Abba"), Text("z")))
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(prepared), type=list[Letters])
    engine = made.load("cpu")
    engine.warm_up()
    first, second = engine.forward([EmbedParameters()] * 2, sent)
    assert vector(first)[:3] == (2.0, 2.0, 0.0)
    assert vector(second)[25] == 1.0
    assert len(vector(first)) == made.describe().dimensions


def test_jobs_share_a_call() -> None:
    made = backend(alphabet="ab")
    runner = BatchRunner(made.load("cpu"))
    for name in ("1", "2"):
        one = job(Text("aab"), name=name)
        runner.add(one, made.preparer().prepare(one))
    outputs = runner.step()
    assert runner.stats().batch_items == 2
    assert [vector(output.result) for output in outputs if isinstance(output, ItemDone)] == [(2, 1), (2, 1)]
    assert sum(isinstance(output, Finished) for output in outputs) == 2


def test_what_it_cannot_take_is_refused_by_its_name() -> None:
    with pytest.raises(JobError) as caught:
        backend().preparer().prepare(job(Text("a"), Tokens([1])))
    assert (caught.value.param, caught.value.message) == ("input", "Input 1 must be text.")


def test_an_unknown_parameter_is_a_bad_model() -> None:
    with pytest.raises(ValueError, match="alphabt"):
        backend(alphabt="x")
