"""How the next token is chosen: settings resolved from request, model and llama.cpp's defaults, and the chain
of C samplers made from them, in llama.cpp's own order."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from backends.protocol import GenerateParameters

HONOURED = [
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "repeat_last_n",
    "seed",
    "stop",
    "logit_bias",
    "ignore_eos",
    "n",
    "best_of",
    "logprobs",
    "top_logprobs",
    "echo",
    "response_format",
    "regex",
    "grammar",
]
"""Job parameters that every model of this backend follows; `describe` adds those that depend on the file."""

LIMITS = {"n": 128, "best_of": 128, "top_logprobs": 20, "logprobs": 20}

LEAST_TEMPERATURE = 1e-6
"""A temperature below it counts as 0. llama.cpp divides logits by the temperature in float32: a tiny one
makes infinities of them, and any token may be chosen. At this one only tokens within about 0.00001
of the likeliest have a chance, which is hardly more than the rounding of logits in float32."""

_REPEAT_WINDOW = 64
_RANDOM_SEED = 0xFFFFFFFF
"""llama.cpp draws its own seed for this one."""


class Sampling(Struct, frozen=True):
    """Everything decided: no field is left to a default elsewhere."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = _REPEAT_WINDOW
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0

    @property
    def takes_likeliest(self) -> bool:
        """No chance plays a part."""
        return self.temperature < LEAST_TEMPERATURE


def check_defaults(defaults: Mapping[str, float]) -> None:
    """Raises ValueError at a name among a model's `defaults` that is no sampling setting."""
    unknown = sorted(set(defaults) - set(Sampling.__struct_fields__) - {"max_tokens"})
    if unknown:
        raise ValueError(f"defaults.{unknown[0]} is no sampling setting of the llama_cpp backend")


def resolve(parameters: GenerateParameters, defaults: Mapping[str, float]) -> Sampling:
    """The request's values, else the model's, else llama.cpp's."""
    values: dict[str, Any] = {}
    for name in Sampling.__struct_fields__:
        value = getattr(parameters, name)
        if value is None:
            value = defaults.get(name)
        if value is not None:
            values[name] = int(value) if name in ("top_k", "repeat_last_n") else float(value)
    return Sampling(**values)


def choose_seed(seed: int | None) -> int:
    """The request's seed in 32 bits, or a random one."""
    wanted = secrets.randbits(32) if seed is None else seed & 0xFFFFFFFF
    return wanted if wanted != _RANDOM_SEED else 0


class Greedy:
    """What a chain of bias and greedy sampler chooses, without its copy of the whole vocabulary."""

    def __init__(self, bias: Mapping[int, float]) -> None:
        self._tokens = np.array(list(bias), dtype=np.intp)
        self._biases = np.array(list(bias.values()), dtype=np.float32)

    def choose(self, logits: npt.NDArray[np.float32]) -> int:
        """The most likely token, of equals the first. Biases are added to `logits`: a row is for one call."""
        if len(self._tokens):
            logits[self._tokens] += self._biases
        return int(logits.argmax())


def greedy(sampling: Sampling, bias: Mapping[int, float]) -> Greedy | None:
    """None where a chain is needed: chance plays a part, or what was written counts."""
    repeats = sampling.repeat_penalty != 1.0 and sampling.repeat_last_n != 0
    penalised = repeats or sampling.frequency_penalty or sampling.presence_penalty
    return Greedy(bias) if sampling.takes_likeliest and not penalised else None


def build_chain(
    sampling: Sampling,
    bias: Mapping[int, float],
    *,
    seed: int,
    n_vocab: int,
    n_ctx: int,
    prompt: Iterable[int],
) -> Any:
    """A new sampler chain, to be freed by the caller with free_chain.

    `repeat_penalty` looks at prompt and answer, over the last `repeat_last_n` tokens (-1: all), as llama.cpp
    does. OpenAI's two penalties look at the whole answer and nothing else, as OpenAI documents them; that is
    why they get a sampler of their own.
    """
    from backends.llama_cpp.library import C

    params = C.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = C.llama_sampler_chain_init(params)

    def add(sampler: Any) -> None:
        C.llama_sampler_chain_add(chain, sampler)

    if bias:
        pairs = (C.llama_logit_bias * len(bias))(*bias.items())
        add(C.llama_sampler_init_logit_bias(n_vocab, len(bias), pairs))
    if sampling.repeat_penalty != 1.0 and sampling.repeat_last_n != 0:
        window = sampling.repeat_last_n if sampling.repeat_last_n > 0 else n_ctx
        repeat = C.llama_sampler_init_penalties(
            n_vocab, min(window, n_ctx), sampling.repeat_penalty, 0.0, 0.0
        )
        for token in prompt:
            C.llama_sampler_accept(repeat, token)
        add(repeat)
    if sampling.frequency_penalty or sampling.presence_penalty:
        penalties = (sampling.frequency_penalty, sampling.presence_penalty)
        add(C.llama_sampler_init_penalties(n_vocab, n_ctx, 1.0, *penalties))
    if sampling.takes_likeliest:
        add(C.llama_sampler_init_greedy())
        return chain
    if sampling.top_k > 0:
        add(C.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1.0:
        add(C.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1.0:
        add(C.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0.0:
        add(C.llama_sampler_init_min_p(sampling.min_p, 1))
    add(C.llama_sampler_init_temp(sampling.temperature))
    add(C.llama_sampler_init_dist(seed))
    return chain


def free_chain(chain: Any) -> None:
    from backends.llama_cpp.library import C

    C.llama_sampler_free(chain)
