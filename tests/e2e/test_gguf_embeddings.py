"""A GGUF embedding model behind the gateway, asked by the OpenAI SDK."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from openai import BadRequestError, OpenAI

from tests.gateway_process import GatewayProcess
from tests.gguf_files import write_bert_gguf
from tests.process.conftest import starter_weights

CAT, GUITAR, DOG = "The cat sits outside", "A man is playing guitar", "The dog plays in the garden"
MODEL = "minilm-gguf"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    folder = tmp_path_factory.mktemp("gateway")
    write_bert_gguf(starter_weights("all-minilm-l6-v2", "LLM_CORTEX_TEST_MINILM"), folder / "minilm.gguf")
    model = {
        "name": MODEL,
        "backend": "llama_cpp",
        "tasks": ["embed"],
        "source": str(folder / "minilm.gguf"),
        "preload": True,
        "parameters": {"token_input": "cl100k"},
    }
    with GatewayProcess.serving({"models": [model]}, folder) as process:
        process.wait_until_ready()
        with OpenAI(base_url=f"{process.base_url}/v1", api_key="none", max_retries=0) as made:
            yield made


def embed(client: OpenAI, given: object) -> np.ndarray:  # type: ignore[type-arg]
    answer = client.embeddings.create(model=MODEL, input=given)  # type: ignore[arg-type]
    return np.array([item.embedding for item in answer.data])


def test_scores_are_those_published_for_the_model(client: OpenAI) -> None:
    vectors = embed(client, [CAT, GUITAR, DOG])
    assert vectors.shape == (3, 384)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(0.0363, abs=2e-3)
    assert float(vectors[0] @ vectors[2]) == pytest.approx(0.2838, abs=2e-3)


def test_many_clients_at_once_get_their_own_vectors(client: OpenAI) -> None:
    given = [f"sentence number {number}" for number in range(60)]
    alone = embed(client, given)
    with ThreadPoolExecutor(12) as pool:
        together = np.concatenate(list(pool.map(lambda text: embed(client, text), given)))
    assert (alone * together).sum(axis=1).min() > 0.9999


def test_token_ids_and_empty_texts(client: OpenAI) -> None:
    # cl100k ids of the first sentence, as OpenAI's own tokenizer gives them
    vectors = embed(client, [[791, 8415, 23874, 4994]])
    assert float(vectors[0] @ embed(client, CAT)[0]) > 0.9999
    assert np.linalg.norm(embed(client, "")) == pytest.approx(1, abs=1e-4)


def test_too_long_an_input_is_a_400_that_names_it(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as caught:
        embed(client, ["short", "word " * 600])
    assert (caught.value.param, caught.value.code) == ("input", "context_length_exceeded")
    assert "602 tokens" in caught.value.message
