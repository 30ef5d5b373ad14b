"""GGUF embeddings on real weights: the starter embedding model as a GGUF file, and the starter chat model."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import T5Config, T5EncoderModel

from backends.base import JobError
from backends.batch_runner import BatchRunner
from backends.llama_cpp import LlamaCppBackend
from backends.llama_cpp.embedding.engine import LlamaEmbeddingEngine
from backends.protocol import EmbeddingResult, EmbedParameters, Item, ItemDone, Job, Text, Tokens
from backends.sentence import SentenceBackend
from config.schema import ModelSpec
from tests.gguf_files import write_bert_gguf, write_t5_encoder_gguf

Vectors = npt.NDArray[np.float32]

CAT, GUITAR, DOG = "The cat sits outside", "A man is playing guitar", "The dog plays in the garden"
TEXTS = [CAT, GUITAR, DOG, "", "é 😀 [SEP]", "word " * 300, "Ein Satz auf Deutsch.", "x"]
CLS, SEP = 101, 102


def job(*items: Item, name: str = "job", dimensions: int | None = None) -> Job:
    return Job(name, "m", "embed", EmbedParameters(dimensions), list(items))


class Embedder:
    """A backend with its preparer and engine."""

    def __init__(self, path: Path, **parameters: Any) -> None:
        spec = ModelSpec(
            name="m",
            backend="llama_cpp",
            tasks=["embed"],
            source="x",
            parameters={"n_threads": 1} | parameters,
        )
        self.backend = LlamaCppBackend(spec, path)
        self.preparer = self.backend.preparer()
        engine = self.backend.load("cpu")
        assert isinstance(engine, LlamaEmbeddingEngine)
        self.engine = engine
        self.engine.warm_up()

    def ids(self, *items: Item) -> list[list[int]]:
        prepared = self.preparer.prepare(job(*items))
        return [np.frombuffer(item.tokens, "<i4").tolist() for item in prepared]

    def together(self, *items: Item) -> Vectors:
        prepared = self.preparer.prepare(job(*items))
        return rows(self.engine.forward([None] * len(prepared), prepared))

    def alone(self, *items: Item) -> Vectors:
        return np.concatenate([self.together(item) for item in items])


def rows(results: Sequence[Any]) -> Vectors:
    vectors = [r.vector for r in results if isinstance(r, EmbeddingResult)]
    assert len(vectors) == len(results)
    return np.array([np.frombuffer(vector, "<f4") for vector in vectors])


def texts(*given: str) -> list[Text]:
    return [Text(text) for text in given]


@pytest.fixture(scope="session")
def minilm_gguf(minilm_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "minilm.gguf"
    write_bert_gguf(minilm_path, path)
    return path


@pytest.fixture(scope="module")
def minilm(minilm_gguf: Path) -> Iterator[Embedder]:
    made = Embedder(minilm_gguf)
    yield made
    made.backend.unload()


@pytest.fixture(scope="module")
def sentence(minilm_path: Path) -> Any:
    spec = ModelSpec(name="s", backend="sentence", tasks=["embed"], source="x")
    return SentenceBackend(spec, minilm_path)


def reference(backend: SentenceBackend, *items: Item) -> Vectors:
    prepared = backend.preparer().prepare(job(*items))
    return rows(backend.load("cpu").forward([None] * len(prepared), prepared))


def test_vectors_are_those_of_the_sentence_backend(minilm: Embedder, sentence: SentenceBackend) -> None:
    # The rare characters of the fifth text are tokenised alike; see the ids below.
    ours, theirs = minilm.together(*texts(*TEXTS)), reference(sentence, *texts(*TEXTS))
    assert ours.shape == theirs.shape == (len(TEXTS), 384)
    assert (ours * theirs).sum(axis=1).min() > 0.999
    assert np.linalg.norm(ours, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_ids_are_those_of_the_sentence_backend(minilm: Embedder, sentence: SentenceBackend) -> None:
    theirs = [item.ids for item in sentence.preparer().prepare(job(*texts(*TEXTS)))]
    assert minilm.ids(*texts(*TEXTS)) == theirs


def test_alone_or_in_a_batch_is_the_same(minilm: Embedder) -> None:
    together, alone = minilm.together(*texts(*TEXTS)), minilm.alone(*texts(*TEXTS))
    assert np.abs(together - alone).max() < 1e-3
    assert (together * alone).sum(axis=1).min() > 0.99999


def test_a_text_does_not_know_its_neighbours(minilm: Embedder) -> None:
    first = minilm.together(*texts(CAT, "one", "two"))[0]
    second = minilm.together(*texts(CAT, DOG, GUITAR))[0]
    assert np.abs(first - second).max() < 1e-3


def test_jobs_share_a_call_up_to_the_budget(minilm_gguf: Path) -> None:
    embedder = Embedder(minilm_gguf, n_ubatch=64, n_seq_max=8)
    runner = BatchRunner(embedder.engine)
    for number in range(6):
        one = job(Text(CAT), Text("word " * 20), name=f"job-{number}")
        runner.add(one, embedder.preparer.prepare(one))
    batches, outputs = [], []
    while runner.has_work():
        outputs += runner.step()
        batches.append((runner.stats().batch_items, runner.stats().prefill_tokens))
    # Six cats of 6 tokens and one of the texts of 22 fit; then two of these at a time.
    assert batches == [(7, 58), (2, 44), (2, 44), (1, 22)]
    cats = [o.result for o in outputs if isinstance(o, ItemDone) and o.item == 0]
    assert np.ptp(rows(cats), axis=0).max() < 1e-3
    embedder.backend.unload()


def test_an_input_over_the_budget_goes_alone(minilm_gguf: Path, minilm: Embedder) -> None:
    small = Embedder(minilm_gguf, n_ubatch=32)
    long = Text("word " * 300)
    assert float(small.together(long)[0] @ minilm.together(long)[0]) > 0.9999
    small.backend.unload()


@pytest.mark.parametrize("own", ["cls", None])
def test_pooling_as_configured_or_as_the_file_says(
    minilm_path: Path, tmp_path: Path, own: str | None
) -> None:
    write_bert_gguf(minilm_path, tmp_path / "m.gguf", own)
    spec = ModelSpec(
        name="s", backend="sentence", tasks=["embed"], source="x", parameters={"pooling": own or "mean"}
    )
    theirs = reference(SentenceBackend(spec, minilm_path), *texts(CAT, DOG))
    for parameters in ({}, {"pooling": own or "mean"}):
        embedder = Embedder(tmp_path / "m.gguf", **parameters)
        assert embedder.backend.describe().details["pooling"] == (own or "mean")
        assert (embedder.together(*texts(CAT, DOG)) * theirs).sum(axis=1).min() > 0.999
        embedder.backend.unload()


def test_last_pooling_is_the_last_tokens_vector(minilm_gguf: Path, minilm: Embedder) -> None:
    last = Embedder(minilm_gguf, pooling="last")
    vectors = last.together(*texts(CAT, DOG))
    assert (vectors * minilm.together(*texts(CAT, DOG))).sum(axis=1).max() < 0.99
    assert (vectors * last.alone(*texts(CAT, DOG))).sum(axis=1).min() > 0.9999
    last.backend.unload()


def test_vectors_keep_their_length_if_asked_to(minilm_gguf: Path, minilm: Embedder) -> None:
    plain = Embedder(minilm_gguf, normalize=False)
    vector = plain.together(Text(CAT))[0]
    assert abs(float(np.linalg.norm(vector)) - 1) > 0.1
    assert np.abs(vector / np.linalg.norm(vector) - minilm.together(Text(CAT))[0]).max() < 1e-5
    plain.backend.unload()


def test_own_ids_are_framed_once_and_a_typed_control_token_is_text(minilm: Embedder) -> None:
    bare = minilm.ids(Text("hi there"))[0][1:-1]
    assert minilm.ids(Tokens(bare), Tokens([CLS, *bare, SEP]), Tokens([])) == [
        [CLS, *bare, SEP],
        [CLS, *bare, SEP],
        [CLS, SEP],
    ]
    assert minilm.ids(Text("hi [SEP] there"))[0].count(SEP) == 1


def test_openai_token_ids_mean_their_text(minilm_gguf: Path, minilm: Embedder) -> None:
    spec = ModelSpec(
        name="m", backend="llama_cpp", tasks=["embed"], source="x", parameters={"token_input": "cl100k"}
    )
    preparer = LlamaCppBackend(spec, minilm_gguf).preparer()
    # cl100k ids of the sentence, as OpenAI's own tokenizer gives them
    prepared = preparer.prepare(job(Tokens([791, 8415, 23874, 4994])))
    assert np.frombuffer(prepared[0].tokens, "<i4").tolist() == minilm.ids(Text(CAT))[0]


def test_over_512_tokens_is_refused_with_both_numbers(minilm: Embedder) -> None:
    assert len(minilm.ids(Text("word " * 510))[0]) == 512
    with pytest.raises(JobError, match=r"Input 1 has 702 tokens.*at most 512") as caught:
        minilm.ids(Text("short"), Text("word " * 700))
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")


def test_other_dimensions_are_refused(minilm: Embedder) -> None:
    assert minilm.preparer.prepare(job(Text("x"), dimensions=384))
    with pytest.raises(JobError, match="384 dimensions") as caught:
        minilm.preparer.prepare(job(Text("x"), dimensions=128))
    assert caught.value.param == "dimensions"


def test_the_file_describes_itself(minilm: Embedder) -> None:
    description = minilm.backend.describe()
    assert (description.tasks, description.dimensions, description.context_length) == (
        ["embed", "tokenize", "detokenize"],
        384,
        512,
    )
    assert description.vocabulary_size == 30522
    assert description.details["attention"] == "both ways"
    assert 150e6 < description.memory_bytes < 500e6


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_a_causal_model_embeds_alike_alone_and_in_a_batch(smollm2_path: Path, pooling: str) -> None:
    embedder = Embedder(smollm2_path, pooling=pooling, n_ctx=1024)
    given = [*texts(CAT, GUITAR, DOG, "", "x", "word " * 40), Tokens([100, 200, 300])]
    together, alone = embedder.together(*given), embedder.alone(*given)
    assert together.shape == (7, 576)
    assert (together * alone).sum(axis=1).min() > 0.999
    scores = together @ together.T
    assert scores[0, 2] > scores[0, 1], "cat and dog are closer than cat and guitar"
    embedder.backend.unload()


def test_a_causal_model_takes_an_input_in_pieces(smollm2_path: Path) -> None:
    """Pooled by its last token, a text longer than a call gives what it gives in one call."""
    whole, pieces = (Embedder(smollm2_path, n_ctx=1024, n_ubatch=size) for size in (1024, 64))
    long = Text("The harbour lies in the north of the town, and the ferries leave at noon. " * 20)
    assert 300 < len(whole.ids(long)[0]) < 1024
    assert float(whole.together(long)[0] @ pieces.together(long)[0]) > 0.999
    assert float(pieces.together(long)[0] @ pieces.together(Text(CAT))[0]) < 0.99
    for embedder in (whole, pieces):
        embedder.backend.unload()


def test_an_encoder_that_wants_encode(tmp_path: Path) -> None:
    """The T5 family: other calls of the library, and relative positions. Random weights, real arithmetic."""
    torch.manual_seed(1)
    shape = {"vocab_size": 100, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    model = T5EncoderModel(T5Config(**shape, feed_forward_proj="gated-gelu")).eval()
    write_t5_encoder_gguf(model, tmp_path / "t5.gguf")
    embedder = Embedder(tmp_path / "t5.gguf")
    sequences = [[2, *range(10, 30), 3], [2, 50, 3], [2, *range(90, 40, -1), 3]]
    with torch.inference_mode():
        states = [model(input_ids=torch.tensor([ids])).last_hidden_state[0] for ids in sequences]
    theirs = np.array([(s.mean(dim=0) / s.mean(dim=0).norm()).numpy() for s in states])
    ours = embedder.together(*map(Tokens, sequences))
    assert (ours * theirs).sum(axis=1).min() > 0.999
    assert np.abs(ours - embedder.alone(*map(Tokens, sequences))).max() < 1e-3
    embedder.backend.unload()


def test_what_gives_no_embeddings_is_refused(minilm_path: Path, smollm2_path: Path, tmp_path: Path) -> None:
    write_bert_gguf(minilm_path, tmp_path / "ranker.gguf", "rank")
    with pytest.raises(ValueError, match=r"ranker\.gguf is a reranker"):
        Embedder(tmp_path / "ranker.gguf")
    with pytest.raises(ValueError, match="pooling by cls"):
        Embedder(smollm2_path, pooling="cls")
    with pytest.raises(ValueError, match="n_ctx is 9000"):
        Embedder(smollm2_path, n_ctx=9000)


def test_an_encoder_is_not_served_for_generation(minilm_gguf: Path) -> None:
    spec = ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source="x")
    with pytest.raises(ValueError, match=r"serve it with tasks: \[embed\]"):
        LlamaCppBackend(spec, minilm_gguf).describe()


def test_a_token_outside_the_vocabulary_never_reaches_the_library(minilm: Embedder) -> None:
    with pytest.raises(JobError, match="token id 30522"):
        minilm.ids(Tokens([30522]))


def test_a_cut_off_file_fails_the_load(minilm_gguf: Path, tmp_path: Path) -> None:
    whole = minilm_gguf.read_bytes()
    shutil.copy(minilm_gguf, tmp_path / "cut.gguf")
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cut\.gguf"):
        Embedder(tmp_path / "cut.gguf")
