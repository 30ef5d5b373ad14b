"""The sentence backend with real weights: scores, batching, and what each process imports."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from backends.base import JobError
from backends.batch_runner import BatchRunner
from backends.protocol import EmbeddingResult, EmbedParameters, Item, ItemDone, Job, Text, Tokens
from backends.sentence import SentenceBackend
from backends.sentence.engine import SentenceEngine
from backends.sentence.prepare import SentenceItem, SentencePreparer
from config.schema import ModelSpec

Vectors = npt.NDArray[np.float32]

CAT, GUITAR, DOG = "The cat sits outside", "A man is playing guitar", "The dog plays in the garden"
TEXTS = [CAT, GUITAR, DOG, "", "é 😀 [SEP]", "word " * 300, "Ein Satz auf Deutsch.", "x"]


def spec(path: Path, token_input: str = "model") -> ModelSpec:
    return ModelSpec(
        name="minilm",
        backend="sentence",
        tasks=["embed"],
        source=str(path),
        parameters={"token_input": token_input},
    )


def job(items: Sequence[Item], name: str = "job") -> Job:
    return Job(name, "minilm", "embed", EmbedParameters(), list(items))


@pytest.fixture(scope="module")
def backend(minilm_path: Path) -> SentenceBackend:
    return SentenceBackend(spec(minilm_path), minilm_path)


@pytest.fixture(scope="module")
def preparer(backend: SentenceBackend) -> SentencePreparer:
    return backend.preparer()


@pytest.fixture(scope="module")
def engine(backend: SentenceBackend) -> SentenceEngine:
    engine = backend.load("cpu")
    engine.warm_up()
    return engine


def embed(engine: SentenceEngine, items: Sequence[SentenceItem]) -> Vectors:
    results = [r for r in engine.forward([None] * len(items), items) if isinstance(r, EmbeddingResult)]
    return np.array([np.frombuffer(result.vector, "<f4") for result in results])


def test_scores_are_those_of_sentence_transformers(
    engine: SentenceEngine, preparer: SentencePreparer
) -> None:
    vectors = embed(engine, preparer.prepare(job([Text(CAT), Text(GUITAR), Text(DOG)])))
    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    # Published in the documentation of sentence-transformers for this model and these sentences.
    assert float(vectors[0] @ vectors[1]) == pytest.approx(0.0363, abs=1e-4)
    assert float(vectors[0] @ vectors[2]) == pytest.approx(0.2838, abs=1e-4)


def test_alone_or_in_a_batch_is_the_same(engine: SentenceEngine, preparer: SentencePreparer) -> None:
    items = preparer.prepare(job([Text(text) for text in TEXTS]))
    together = embed(engine, items)
    alone = np.concatenate([embed(engine, [item]) for item in items])
    assert np.abs(together - alone).max() < 1e-5


def test_jobs_share_forward_calls(engine: SentenceEngine, preparer: SentencePreparer) -> None:
    runner = BatchRunner(engine)
    for number in range(6):
        one = job([Text(CAT), Text(f"sentence {number}")], name=f"job-{number}")
        runner.add(one, preparer.prepare(one))
    outputs = runner.step()
    assert runner.stats().batch_items == 12
    assert not runner.has_work()
    cats = [o.result for o in outputs if isinstance(o, ItemDone) and o.item == 0]
    assert len(cats) == 6
    vectors = [np.frombuffer(r.vector, "<f4") for r in cats if isinstance(r, EmbeddingResult)]
    assert np.ptp(vectors, axis=0).max() < 1e-5


def test_a_typed_control_token_is_text(preparer: SentencePreparer) -> None:
    plain, typed = preparer.prepare(job([Text("hi there"), Text("hi [SEP] there")]))
    assert typed.ids.count(102) == 1
    assert len(typed.ids) == len(plain.ids) + 3


def test_over_512_tokens_is_refused_with_both_numbers(preparer: SentencePreparer) -> None:
    assert len(preparer.prepare(job([Text("word " * 510)]))[0].ids) == 512
    with pytest.raises(JobError) as caught:
        preparer.prepare(job([Text("short"), Text("word " * 700)]))
    assert caught.value.code == "context_length_exceeded"
    assert "Input 1 has 702 tokens" in caught.value.message
    assert "at most 512" in caught.value.message


def test_openai_token_ids_mean_their_text(engine: SentenceEngine, minilm_path: Path) -> None:
    decoding = SentenceBackend(spec(minilm_path, "cl100k"), minilm_path).preparer()
    # cl100k ids of the sentence, as OpenAI's own tokenizer gives them
    ids = Tokens([791, 8415, 23874, 4994])
    vectors = embed(engine, decoding.prepare(job([ids, Text(CAT)])))
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-5


def test_the_description_is_the_models(backend: SentenceBackend) -> None:
    description = backend.describe()
    assert (description.dimensions, description.context_length) == (384, 512)
    assert description.vocabulary_size == 30522
    assert 300e6 < description.memory_bytes < 2e9


def test_describing_and_preparing_import_no_engine(minilm_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from backends.sentence import SentenceBackend;"
        "from config.schema import ModelSpec;"
        "spec = ModelSpec(name='m', backend='sentence', tasks=['embed'], source='x');"
        f"backend = SentenceBackend(spec, Path({str(minilm_path)!r}));"
        "backend.describe(); backend.preparer();"
        "print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def copied(minilm_path: Path, tmp_path: Path) -> Path:
    """The model's folder without its weights."""
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(minilm_path / name, tmp_path)
    return tmp_path


def test_cut_off_weights_fail_the_load(minilm_path: Path, copied: Path) -> None:
    with (minilm_path / "model.safetensors").open("rb") as whole:
        (copied / "model.safetensors").write_bytes(whole.read(100_000))
    with pytest.raises(ValueError, match="not fully covered"):
        SentenceBackend(spec(copied), copied).load("cpu")


def test_a_layer_without_weights_fails_the_load(minilm_path: Path, copied: Path) -> None:
    tensors = load_file(minilm_path / "model.safetensors")
    del tensors["encoder.layer.3.output.dense.weight"]
    del tensors["pooler.dense.weight"]  # not used for embeddings: may be missing
    save_file(tensors, copied / "model.safetensors")
    with pytest.raises(ValueError, match=r"no weights for encoder\.layer\.3\.output\.dense\.weight$"):
        SentenceBackend(spec(copied), copied).load("cpu")
