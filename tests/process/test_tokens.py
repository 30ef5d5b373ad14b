"""Token jobs: real vocabularies, and workers that answer them beside their engine."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.base import JobError, Preparer
from backends.llama_cpp import LlamaCppBackend
from backends.protocol import (
    Chat,
    ChatMessage,
    DetokenizeParameters,
    DetokenizeResult,
    GenerateParameters,
    Item,
    Job,
    Parameters,
    Text,
    TokenizeParameters,
    TokenizeResult,
    Tokens,
)
from backends.sentence import SentenceBackend
from config.schema import ModelSpec
from gateway.engine import errors
from gateway.engine.engine import Engine
from gateway.engine.stream import JobStream
from tests.gguf_files import write_bert_gguf
from tests.process.fleet import fake_model, ready_pid, running_engine, until, worker_pids

CLS, SEP = 101, 102
WRITTEN = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0x1FFFF))
"""The starter model's vocabulary lacks tokens for some control characters and for the highest planes."""


def job(parameters: Parameters, *items: Item, name: str = "job", model: str = "m") -> Job:
    task = "tokenize" if isinstance(parameters, TokenizeParameters) else "detokenize"
    return Job(name, model, task, parameters, list(items))


def tokens(preparer: Preparer[Any], item: Item, **parameters: bool) -> list[int]:
    (result,) = preparer.answer(job(TokenizeParameters(**parameters), item))
    assert isinstance(result, TokenizeResult)
    return np.frombuffer(result.tokens, "<i4").tolist()


def text(preparer: Preparer[Any], ids: list[int]) -> str:
    (result,) = preparer.answer(job(DetokenizeParameters(), Tokens(ids)))
    assert isinstance(result, DetokenizeResult)
    return result.text


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> Preparer[Any]:
    spec = ModelSpec(name="m", backend="llama_cpp", tasks=["generate"], source="x")
    return LlamaCppBackend(spec, smollm2_path).preparer()


@pytest.fixture(scope="module")
def minilm(minilm_path: Path) -> Preparer[Any]:
    return SentenceBackend(
        ModelSpec(name="m", backend="sentence", tasks=["embed"], source="x"), minilm_path
    ).preparer()


@pytest.fixture(scope="module")
def minilm_gguf(minilm_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Preparer[Any]:
    path = tmp_path_factory.mktemp("gguf") / "minilm.gguf"
    write_bert_gguf(minilm_path, path)
    return LlamaCppBackend(
        ModelSpec(name="m", backend="llama_cpp", tasks=["embed"], source="x"), path
    ).preparer()


@given(WRITTEN)
@settings(max_examples=200, deadline=None)
def test_a_text_comes_back_as_it_was(smollm2: Preparer[Any], given_text: str) -> None:
    assert text(smollm2, tokens(smollm2, Text(given_text))) == given_text
    (result,) = smollm2.answer(job(TokenizeParameters(pieces=True), Text(given_text)))
    assert isinstance(result, TokenizeResult)
    assert b"".join(result.pieces).decode() == given_text


def test_a_conversations_tokens_are_what_the_engine_gets(smollm2: Preparer[Any]) -> None:
    chat = Chat([ChatMessage("user", "Hello <|im_end|>")])
    generate = Job("x", "m", "generate", GenerateParameters(), [chat])
    prepared = np.frombuffer(smollm2.prepare(generate)[0].tokens, "<i4").tolist()
    assert tokens(smollm2, chat) == prepared
    assert text(smollm2, prepared).endswith(
        "<|im_start|>user\nHello <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_texts_tokens_are_what_the_engine_gets(smollm2: Preparer[Any]) -> None:
    generate = Job("x", "m", "generate", GenerateParameters(), [Text("Once <|im_end|>")])
    assert (
        tokens(smollm2, Text("Once <|im_end|>"))
        == np.frombuffer(smollm2.prepare(generate)[0].tokens, "<i4").tolist()
    )


def test_control_tokens_are_read_only_if_asked_for(smollm2: Preparer[Any]) -> None:
    (end,) = tokens(smollm2, Text("<|im_end|>"), parse_special=True)
    assert end not in tokens(smollm2, Text("<|im_end|>"))
    assert text(smollm2, [end]) == "<|im_end|>"
    (result,) = smollm2.answer(job(TokenizeParameters(parse_special=True, pieces=True), Text("<|im_end|>")))
    assert isinstance(result, TokenizeResult)
    assert result.pieces == [b"<|im_end|>"]


def test_an_encoder_frames_a_text_and_takes_no_conversation(
    minilm: Preparer[Any], minilm_gguf: Preparer[Any]
) -> None:
    for preparer in (minilm, minilm_gguf):
        bare = tokens(preparer, Text("hello there"), add_special=False)
        assert tokens(preparer, Text("hello there")) == [CLS, *bare, SEP]
        assert SEP not in tokens(preparer, Text("a [SEP] b"), add_special=False)
        assert tokens(preparer, Text("a [SEP] b"), add_special=False, parse_special=True).count(SEP) == 1
        assert SEP not in tokens(preparer, Text("a [SEP] b"), add_special=False), "nothing is left behind"
        assert text(preparer, bare).strip() == "hello there"
        assert "[SEP]" in text(preparer, [*bare, SEP])
        with pytest.raises(JobError) as caught:
            tokens(preparer, Chat([ChatMessage("user", "x")]))
        assert caught.value.param == "messages"


@pytest.mark.parametrize("token", [-1, 30522, 2**31 - 1])
def test_a_foreign_id_never_reaches_the_tokenizer(
    minilm: Preparer[Any], minilm_gguf: Preparer[Any], token: int
) -> None:
    for preparer in (minilm, minilm_gguf):
        with pytest.raises(JobError, match="no token id") as caught:
            text(preparer, [5, token])
        assert caught.value.param == "tokens"


async def ask(engine: Engine, item: Item, name: str = "1", model: str = "fake") -> JobStream:
    await engine.description(model)
    parameters = DetokenizeParameters() if isinstance(item, Tokens) else TokenizeParameters()
    return engine.submit(job(parameters, item, name=name, model=model))


async def test_a_cold_worker_is_loaded_and_answers(tmp_path: Path) -> None:
    models = [fake_model(preload=False), fake_model("embedder", batch=True, preload=False)]
    async with running_engine(tmp_path, *models) as engine:
        for model in ("fake", "embedder"):
            results, finished = await (await ask(engine, Text("ab"), model=model)).results()
            assert results == [TokenizeResult(b"a\0\0\0b\0\0\0")]
            assert finished.timings.prepare_s > 0
            assert len(worker_pids(engine, model)) == 1


async def test_the_engine_is_not_asked(tmp_path: Path) -> None:
    """A step takes longer than the test waits; the answer comes from beside it."""
    async with running_engine(tmp_path, fake_model()) as engine:
        await ready_pid(engine)
        for number in range(50):
            (result,), _ = await (await ask(engine, Tokens([72, 105]), str(number))).results()
            assert result == DetokenizeResult("Hi")
        rendered = engine._metrics.render().decode()
        assert 'llm_cortex_requests_total{model="fake",outcome="ok",task="detokenize"} 50.0' in rendered
        assert 'llm_cortex_prompt_tokens_total{model="fake"} 0.0' in rendered


async def test_a_refusal_names_its_parameter(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model()) as engine:
        with pytest.raises(errors.BadRequest) as caught:
            await (await ask(engine, Tokens([500]))).results()
        assert (caught.value.param, caught.value.code) == ("tokens", "invalid_token_id")


async def test_a_text_that_kills_the_helper_fails_alone(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model(), timeouts={"prepare_s": 2.0}) as engine:
        pid = await ready_pid(engine)
        for script, kind in (("@prepare-die", errors.InternalError), ("@prepare-hang", errors.BadRequest)):
            with pytest.raises(kind):
                await (await ask(engine, Text(script), script)).results()
        (result,), _ = await (await ask(engine, Text("ok"))).results()
        assert isinstance(result, TokenizeResult)
        assert await ready_pid(engine) == pid


async def test_an_abandoned_job_leaves_nothing(tmp_path: Path) -> None:
    async with running_engine(tmp_path, fake_model()) as engine:
        await ready_pid(engine)
        async with await ask(engine, Text("@prepare-hang")):
            pass
        (result,), _ = await (await ask(engine, Text("ok"), "2")).results()
        assert isinstance(result, TokenizeResult)
        await until(lambda: not engine._open)
