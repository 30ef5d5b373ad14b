"""The backend that CONTRIBUTING.md shows is a real one: it is read out of the page and worked with."""

import re
import struct
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from backends.base import Backend, BatchEngine, JobError
from backends.protocol import EmbeddingResult, EmbedParameters, Item, Job, Text, Tokens
from config.schema import ModelSpec

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Backend:  # type: ignore[type-arg]
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert code is not None
    # msgspec looks the struct's annotations up in its module.
    module = ModuleType("shown_in_contributing")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code[1], str(PAGE), "exec"), module.__dict__)
    spec = ModelSpec(name="letters", backend="letters", tasks=["embed"], source="any")
    return module.LettersBackend(spec, PAGE)  # type: ignore[no-any-return]


def job(*items: Item) -> Job:
    return Job("1", "letters", "embed", EmbedParameters(), list(items))


def test_it_embeds(backend: Backend) -> None:  # type: ignore[type-arg]
    prepared = backend.preparer().prepare(job(Text("Abba"), Text("z")))
    sent = msgspec.msgpack.decode(
        msgspec.msgpack.encode(prepared),
        type=list[backend.prepared_type],  # type: ignore[name-defined]
    )
    engine = backend.load("cpu")
    assert isinstance(engine, BatchEngine)
    engine.warm_up()
    results = engine.forward([EmbedParameters()] * 2, sent)
    vectors = []
    for result in results:
        assert isinstance(result, EmbeddingResult)
        assert result.dimensions == backend.describe().dimensions
        vectors.append(struct.unpack(f"<{result.dimensions}f", result.vector))
    assert vectors[0][:3] == (2.0, 2.0, 0.0)
    assert vectors[1][25] == 1.0


def test_it_refuses_what_it_cannot_take(backend: Backend) -> None:  # type: ignore[type-arg]
    with pytest.raises(JobError) as caught:
        backend.preparer().prepare(job(Text("a"), Tokens([1])))
    assert caught.value.param == "input"
