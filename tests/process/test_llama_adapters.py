"""LoRA adapters on the real starter model: what they change, what they leave, which are refused."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from backends.llama_cpp import LlamaCppBackend
from backends.llama_cpp.adapters import Adapters, check_adapters
from backends.llama_cpp.batch import Batch
from backends.llama_cpp.library import C
from backends.llama_cpp.model import Context, Model, open_model
from config.parameters import LoraAdapter
from config.schema import ModelSpec
from tests.process.lora_file import write_lora

NONE: dict[str, float] = {}


class Lab:
    """A model with two adapters, `half` being one at half its strength, and a context."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.model: Model = open_model(path)
        first, second = write_lora(folder / "a.gguf"), write_lora(folder / "b.gguf", seed=1)
        self.adapters = Adapters(
            self.model,
            [
                LoraAdapter(name="a", source=str(first)),
                LoraAdapter(name="b", source=str(second)),
                LoraAdapter(name="half", source=str(first), scale=0.5),
            ],
        )
        params = C.llama_context_default_params()
        params.n_ctx, params.n_threads, params.n_threads_batch = 256, 1, 1
        self.context = Context(self.model, params)

    def logprobs(self, asked: Mapping[str, float]) -> npt.NDArray[np.float64]:
        self.adapters.apply(self.context.handle, asked)
        batch = Batch(16, 1, self.model.vocabulary.size)
        row = batch.add(0, np.arange(100, 112, dtype=np.int32), 0, want_last=True)
        assert self.context.decode(batch.raw) == 0
        logits = self.context.logits(row).astype(np.float64)
        self.context.remove(0)
        return logits - np.log(np.exp(logits).sum())

    def close(self) -> None:
        self.context.close()
        self.adapters.close()
        self.model.close()


@pytest.fixture(scope="module")
def lab(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(smollm2_path, tmp_path_factory.mktemp("adapters"))
    yield made
    made.close()


def far(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    return float(np.abs(left - right).max())


def test_an_adapter_changes_log_probabilities(lab: Lab) -> None:
    plain = lab.logprobs(NONE)
    assert far(lab.logprobs({"a": 1.0}), plain) > 0.1
    assert far(lab.logprobs({"a": 1.0}), lab.logprobs({"b": 1.0})) > 0.1
    assert far(lab.logprobs({"a": 1.0, "b": 1.0}), lab.logprobs({"a": 1.0})) > 0.05


def test_without_it_or_at_scale_zero_all_is_as_before(lab: Lab) -> None:
    plain = lab.logprobs(NONE)
    lab.logprobs({"a": 2.0})
    assert far(lab.logprobs({"a": 0.0}), plain) == 0.0
    lab.logprobs({"b": 1.0})
    assert far(lab.logprobs(NONE), plain) == 0.0


def test_scales_multiply(lab: Lab) -> None:
    assert far(lab.logprobs({"half": 1.0}), lab.logprobs({"a": 0.5})) == 0.0
    assert far(lab.logprobs({"half": 2.0}), lab.logprobs({"a": 1.0})) == 0.0


def test_a_key_is_equal_for_equal_effects(lab: Lab) -> None:
    key = lab.adapters.key
    assert key(NONE) == key({"a": 0.0}) == ""
    assert key({"a": 1.0, "b": 0.5}) == key({"b": 0.5, "a": 1.0, "half": 0.0})
    assert len({key({"a": 1.0}), key({"a": 0.5}), key({"b": 1.0}), key({"a": 1.0, "b": 1.0}), key(NONE)}) == 5


def test_a_key_follows_the_files_content(lab: Lab, tmp_path: Path) -> None:
    def key(seed: int) -> str:
        source = str(write_lora(tmp_path / "c.gguf", seed=seed))
        adapters = Adapters(lab.model, [LoraAdapter(name="a", source=source)])
        made = adapters.key({"a": 1.0})
        adapters.close()
        return made

    assert key(0) == lab.adapters.key({"a": 1.0}) != key(7)


def test_the_library_is_only_called_for_a_change(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    real = C.llama_set_adapters_lora

    def recording(context: Any, handles: Any, count: int, scales: Any) -> int:
        calls.append(count)
        return int(real(context, handles, count, scales))

    monkeypatch.setattr(C, "llama_set_adapters_lora", recording)
    lab.logprobs(NONE)
    calls.clear()
    for asked in ({"a": 1.0}, {"a": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 1.0}, NONE, NONE):
        lab.adapters.apply(lab.context.handle, asked)
    assert calls == [1, 2, 0]


def test_an_unknown_name_is_refused(lab: Lab) -> None:
    with pytest.raises(ValueError, match=r"'c'; there are: a, b, half"):
        lab.adapters.key({"c": 1.0})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "shape": ({"width": 100}, "incorrect shape"),
    "tensor": ({"tensor": "blk.99.attn_q.weight"}, "does not exist in base model"),
    "architecture": ({"architecture": "gemma"}, "arch mismatch"),
    "kind": ({"kind": "control"}, "expect adapter.type to be 'lora'"),
    "activated": ({"invocation": [1, 2]}, "activated LoRA"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_with_its_reason(
    lab: Lab, smollm2_path: Path, tmp_path: Path, wrong: str
) -> None:
    settings, reason = WRONG[wrong]
    good = LoraAdapter(name="good", source=str(write_lora(tmp_path / "good.gguf")))
    bad = LoraAdapter(name="bad", source=str(write_lora(tmp_path / "bad.gguf", **settings)))
    with pytest.raises(ValueError, match=f"adapter bad: .*{reason}"):
        Adapters(lab.model, [good, bad])
    with pytest.raises(ValueError, match=f"adapter bad: .*{reason}"):
        check_adapters(smollm2_path, [good, bad])


@pytest.mark.parametrize("content", [b"", b"nonsense", b"GGUF" + b"\0" * 64])
def test_a_file_that_is_no_adapter_is_refused(lab: Lab, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    for source in (path, tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ValueError, match="adapter bad"):
            Adapters(lab.model, [LoraAdapter(name="bad", source=str(source))])


def test_a_cut_off_file_is_refused(lab: Lab, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "bad.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="adapter bad"):
        Adapters(lab.model, [LoraAdapter(name="bad", source=str(path))])


def described(path: Path, source: Path) -> LlamaCppBackend:
    parameters = {"adapters": [{"name": "a", "source": str(source)}]}
    spec = ModelSpec(
        name="m", backend="llama_cpp", tasks=["generate"], source=str(path), parameters=parameters
    )
    return LlamaCppBackend(spec, path)


def test_a_description_names_the_adapters_and_counts_their_memory(smollm2_path: Path, tmp_path: Path) -> None:
    source = write_lora(tmp_path / "a.gguf")
    with_one = described(smollm2_path, source).describe()
    spec = ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source=str(smollm2_path))
    without = LlamaCppBackend(spec, smollm2_path).describe()
    assert (with_one.adapters, without.adapters) == (["a"], [])
    assert with_one.memory_bytes == without.memory_bytes + source.stat().st_size


def test_a_model_with_a_wrong_adapter_is_refused_before_it_is_loaded(
    smollm2_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"adapter a: .*incorrect shape"):
        described(smollm2_path, write_lora(tmp_path / "a.gguf", width=100)).describe()
