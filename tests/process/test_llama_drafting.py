"""Drafts from a real model: the starter model drafts for itself, so nearly every token must agree."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.llama_cpp.batch import Batch
from backends.llama_cpp.draft_model import ModelDrafter
from backends.llama_cpp.drafting import DraftRequest
from backends.llama_cpp.library import C
from backends.llama_cpp.model import Context, Model, TokenArray, open_model

PROMPTS = ("The capital of France is", "Once upon a time there was a fox who")
NEW_TOKENS = 24


def context(model: Model) -> Context:
    params = C.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 1024, 256, 256, 2
    params.n_threads = params.n_threads_batch = 1
    params.kv_unified = True
    return Context(model, params)


@pytest.fixture(scope="module")
def target(smollm2_path: Path) -> Iterator[Model]:
    model = open_model(smollm2_path)
    yield model
    model.close()


@pytest.fixture
def drafter(smollm2_path: Path, target: Model) -> Iterator[ModelDrafter]:
    model = open_model(smollm2_path)
    made = ModelDrafter(model, context(model), target.vocabulary, context_length=512)
    yield made
    made.close()


def greedy(model: Model, prompt: TokenArray) -> TokenArray:
    """The prompt and what the model says to it."""
    decoder = context(model)
    batch = Batch(decoder.n_batch, 1, model.vocabulary.size)
    history = prompt
    for _ in range(NEW_TOKENS):
        held = len(history) - 1 if len(history) > len(prompt) else 0
        batch.clear()
        row = batch.add(0, history[held:], held, want_last=True)
        assert decoder.decode(batch.raw) == 0
        history = np.append(history, decoder.logits(row).argmax().astype(np.int32))
    decoder.close()
    return history


def test_a_model_foretells_itself(target: Model, drafter: ModelDrafter) -> None:
    texts = [greedy(target, target.vocabulary.tokenize(prompt, parse_special=False)) for prompt in PROMPTS]
    lengths = [len(text) - NEW_TOKENS for text in texts]
    proposed = agreed = 0
    while any(length < len(text) for length, text in zip(lengths, texts, strict=True)):
        wanted = [
            DraftRequest(key, text[:length], min(4, len(text) - length))
            for key, (text, length) in enumerate(zip(texts, lengths, strict=True))
        ]
        for key, draft in enumerate(drafter.propose(wanted)):
            truth = texts[key][lengths[key] :].tolist()
            same = next((i for i, (a, b) in enumerate(zip(draft, truth, strict=False)) if a != b), len(draft))
            proposed, agreed = proposed + len(draft), agreed + same
            lengths[key] = min(lengths[key] + same + 1, len(texts[key]))
    assert agreed > 0.5 * NEW_TOKENS
    assert agreed > 0.95 * proposed
    assert 0.0 < drafter.token_s < 1.0
