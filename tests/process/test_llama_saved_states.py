"""Saved states of a real context: through disk and a restart, the model goes on as if nothing had been."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from backends.llama_cpp.batch import Batch
from backends.llama_cpp.library import C
from backends.llama_cpp.model import Context, Model, TokenArray, open_model
from backends.llama_cpp.saved_states import SavedStates

BYTES = ctypes.POINTER(ctypes.c_uint8)
TEXT = "It was a bright cold day in April, and the clocks were striking thirteen. " * 20


@pytest.fixture(scope="module")
def model(smollm2_path: Path) -> Iterator[Model]:
    made = open_model(smollm2_path)
    yield made
    made.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    params = C.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_seq_max = 1024, 512, 2
    params.n_threads = params.n_threads_batch = 1
    params.kv_unified = True
    made = Context(model, params)
    yield made
    made.close()


def decode(context: Context, seq_id: int, tokens: TokenArray, position: int) -> npt.NDArray[np.float32]:
    """Logits after the last token."""
    batch = Batch(context.n_batch, context.n_seq_max, context.model.vocabulary.size)
    row = batch.add(seq_id, tokens, position, want_last=True)
    assert context.decode(batch.raw) == 0
    return context.logits(row)


def save(context: Context, seq_id: int) -> memoryview:
    size = C.llama_state_seq_get_size_ext(context.handle, seq_id, 0)
    data = np.empty(size, dtype=np.uint8)
    written = C.llama_state_seq_get_data_ext(context.handle, data.ctypes.data_as(BYTES), size, seq_id, 0)
    assert written == size
    return data.data


def restore(context: Context, seq_id: int, data: bytes | bytearray | memoryview) -> int:
    source = np.frombuffer(data, dtype=np.uint8).ctypes.data_as(BYTES)
    return int(C.llama_state_seq_set_data_ext(context.handle, source, len(data), seq_id, 0))


def test_a_state_from_disk_is_as_good_as_computing_it(model: Model, context: Context, tmp_path: Path) -> None:
    tokens = model.vocabulary.tokenize(TEXT, parse_special=False)[:300]
    next_token = tokens[:1]
    decode(context, 0, tokens, 0)
    data = save(context, 0)
    expected = decode(context, 0, next_token, len(tokens))
    before = SavedStates(host_bytes=len(data), disk=tmp_path / "states", disk_bytes=1 << 30, fingerprint="f")
    before.put("", tokens, data)
    before.close(10.0)
    after = SavedStates(host_bytes=0, disk=tmp_path / "states", disk_bytes=1 << 30, fingerprint="f")
    asked = np.concatenate((tokens, next_token, next_token))
    saved = after.best("", asked, 0)
    assert saved is not None
    assert (saved.common, saved.in_memory) == (len(tokens), False)
    found = after.read(saved)
    assert found is not None
    assert restore(context, 1, found) == len(data)
    assert context.held(1) == len(tokens)
    assert np.array_equal(decode(context, 1, next_token, len(tokens)), expected)
    after.close()


def test_a_state_serves_a_shorter_common_prefix(model: Model, context: Context) -> None:
    tokens = model.vocabulary.tokenize(TEXT, parse_special=False)[:200]
    other = np.concatenate((tokens[:120], tokens[:5]))
    decode(context, 0, other[:120], 0)
    expected = decode(context, 0, other[120:], 120)
    context.remove(0)
    decode(context, 0, tokens, 0)
    states = SavedStates(host_bytes=1 << 30)
    states.put("", tokens, save(context, 0))
    saved = states.best("", other, 0)
    assert saved is not None
    assert saved.common == 120
    found = states.read(saved)
    assert found is not None
    restore(context, 1, found)
    assert context.remove(1, saved.common)
    got = decode(context, 1, other[saved.common :], saved.common)
    # Sums of another order in prefill: the cells themselves are copies.
    assert float(np.abs(got - expected).max()) < 0.5
    states.close()
