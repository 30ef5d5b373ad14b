"""Which value wins, and what a chain is made of, in which order."""

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.llama_cpp.library import C
from backends.llama_cpp.sampling import (
    LEAST_TEMPERATURE,
    Sampling,
    build_chain,
    check_defaults,
    choose_seed,
    free_chain,
    greedy,
    resolve,
)
from backends.protocol import GenerateParameters


def names(sampling: Sampling, bias: dict[int, float] | None = None) -> list[str]:
    chain = build_chain(sampling, bias or {}, seed=1, n_vocab=100, n_ctx=64, prompt=[1, 2])
    try:
        samplers = [C.llama_sampler_chain_get(chain, i) for i in range(C.llama_sampler_chain_n(chain))]
        return [C.llama_sampler_name(sampler).decode() for sampler in samplers]
    finally:
        free_chain(chain)


def test_request_before_model_before_llama_cpp() -> None:
    got = resolve(GenerateParameters(temperature=0.1), {"temperature": 0.2, "top_k": 7.0})
    assert got == Sampling(temperature=0.1, top_k=7)


def test_zero_in_a_request_is_a_value_and_no_gap() -> None:
    assert resolve(GenerateParameters(temperature=0.0, top_k=0), {"temperature": 0.7, "top_k": 7}).top_k == 0


def test_an_unknown_default_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"defaults\.temprature"):
        check_defaults({"temprature": 1.0})


def test_all_known_defaults_are_taken() -> None:
    check_defaults(dict.fromkeys([*Sampling.__struct_fields__, "max_tokens"], 1.0))


def test_samplers_stand_in_llama_cpps_order() -> None:
    sampling = Sampling(typical_p=0.9, repeat_penalty=1.1, frequency_penalty=0.5)
    order = "logit-bias penalties penalties top-k typical top-p min-p temp dist"
    assert names(sampling, {3: 1.0}) == order.split()


def test_at_temperature_zero_the_best_token_wins() -> None:
    assert names(Sampling(temperature=0.0)) == ["greedy"]


@pytest.mark.parametrize("temperature", [-1.0, 5e-324, 1e-45, 1e-40, 1e-38, 0.99e-6])
def test_a_tiny_temperature_is_zero(temperature: float) -> None:
    sampling = Sampling(temperature=temperature)
    assert names(sampling) == ["greedy"]
    assert greedy(sampling, {}) is not None


def test_at_the_least_temperature_there_is_still_chance_and_the_likeliest_wins() -> None:
    sampling = Sampling(temperature=LEAST_TEMPERATURE)
    assert names(sampling)[-2:] == ["temp", "dist"]
    assert greedy(sampling, {}) is None
    chain = build_chain(sampling, {}, seed=1, n_vocab=4, n_ctx=64, prompt=[])
    assert chosen(chain, np.array([-1000.0, 1000.0, 999.0, 0.0], dtype=np.float32)) == 1
    free_chain(chain)


def test_what_is_switched_off_is_left_out() -> None:
    assert names(Sampling(top_k=0, top_p=1.0, min_p=0.0)) == ["temp", "dist"]


@pytest.mark.parametrize(("seed", "used"), [(7, 7), (0, 0), (-1, 0), (2**32 + 5, 5), (0xFFFFFFFF, 0)])
def test_a_seed_is_used_as_it_is_and_never_means_random(seed: int, used: int) -> None:
    assert choose_seed(seed) == used


def test_without_a_seed_every_choice_differs() -> None:
    assert len({choose_seed(None) for _ in range(8)}) > 1


def chosen(chain: Any, logits: NDArray[np.float32]) -> int:
    """By a chain, as llama_sampler_sample asks it."""
    data = (C.llama_token_data * len(logits))(*((i, value, 0.0) for i, value in enumerate(logits.tolist())))
    candidates = C.llama_token_data_array(data, len(logits), -1, False)
    C.llama_sampler_apply(chain, ctypes.byref(candidates))
    return int(data[candidates.selected].id)


_VALUES = st.sampled_from([-np.inf, -2.0, 0.0, 1.0, 1.5, 3.0])


@settings(deadline=None)
@given(
    st.lists(_VALUES, min_size=8, max_size=8),
    st.dictionaries(st.integers(0, 7), st.sampled_from([-np.inf, -1.5, 0.5, 2.0])),
)
def test_without_a_chain_the_same_token_is_chosen(values: list[float], bias: dict[int, float]) -> None:
    """Many are equal, and some are forbidden."""
    sampling = Sampling(temperature=0.0)
    logits = np.array(values, dtype=np.float32)
    chain = build_chain(sampling, bias, seed=1, n_vocab=len(logits), n_ctx=64, prompt=[])
    expected = chosen(chain, logits)
    free_chain(chain)
    choice = greedy(sampling, bias)
    assert choice is not None
    assert choice.choose(logits.copy()) == expected


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.0, repeat_penalty=1.1),
        Sampling(temperature=0.0, frequency_penalty=0.1),
        Sampling(temperature=0.0, presence_penalty=-0.1),
    ],
)
def test_chance_and_penalties_need_a_chain(sampling: Sampling) -> None:
    assert greedy(sampling, {}) is None


def test_a_penalty_that_looks_at_nothing_needs_none() -> None:
    assert greedy(Sampling(temperature=0.0, repeat_penalty=1.1, repeat_last_n=0), {}) is not None
