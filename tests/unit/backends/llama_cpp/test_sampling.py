"""Which value wins, and what a chain is made of, in which order."""

import pytest

from backends.llama_cpp.library import C
from backends.llama_cpp.sampling import (
    Sampling,
    build_chain,
    check_defaults,
    choose_seed,
    free_chain,
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


def test_what_is_switched_off_is_left_out() -> None:
    assert names(Sampling(top_k=0, top_p=1.0, min_p=0.0)) == ["temp", "dist"]


@pytest.mark.parametrize(("seed", "used"), [(7, 7), (0, 0), (-1, 0), (2**32 + 5, 5), (0xFFFFFFFF, 0)])
def test_a_seed_is_used_as_it_is_and_never_means_random(seed: int, used: int) -> None:
    assert choose_seed(seed) == used


def test_without_a_seed_every_choice_differs() -> None:
    assert len({choose_seed(None) for _ in range(8)}) > 1
