"""The parameters that every generation of text shares, and what they mean to a model.

Owns ranges, limits and the check against what a model honours. Ranges are OpenAI's where it has the
parameter; `top_k`, `min_p`, `typical_p`, `repeat_penalty`, `repeat_last_n`, `ignore_eos` and `lora` are
llama.cpp's, `reproducible` is our own; they may stand in the body beside OpenAI's (`extra_body` in the SDKs).
"""

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

from backends.protocol import Description, GenerateParameters
from compat.errors import InvalidRequest, invalid, unsupported
from compat.openai.adapters import AdapterScale, read_adapters
from compat.openai.constraints import PARAMETER_OF_KIND, read_constraint
from compat.openai.raw import ABSENT

MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_BIASES = 1024

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Answers = Annotated[int, Meta(ge=1, le=128)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    """Accepted: padding against traffic analysis is not added, and nothing depends on it."""


class SamplingRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fields that every text-generating request shares. null means absent."""

    model: str
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    seed: Int64 | None = None
    stop: str | list[str] | None = None
    logit_bias: dict[int, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    ignore_eos: bool | None = None
    max_tokens: Count | None = None
    n: Answers | None = None
    response_format: Raw = ABSENT
    regex: str | None = None
    grammar: str | None = None
    structured_outputs: Raw = ABSENT
    reproducible: bool | None = None
    lora: list[AdapterScale] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


# A value that changes nothing needs no support: clients send these without being asked.
_NEUTRAL: dict[str, float] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "typical_p": 1,
    "repeat_penalty": 1,
}
_PLAIN = (
    "temperature",
    *_NEUTRAL,
    "repeat_last_n",
    "seed",
)


def generate_parameters(
    request: SamplingRequest, description: Description, max_tokens: int | None, answers: int = 1
) -> GenerateParameters:
    """The job's parameters. Raises InvalidRequest for one that the model does not honour.

    `answers`: how many to each item; what that is called in the request has been checked by `check_answers`.
    """
    given: dict[str, Any] = {}
    for name in _PLAIN:
        value = getattr(request, name)
        if value is None or (name not in description.parameters and value == _NEUTRAL.get(name)):
            continue
        given[name] = value
    if max_tokens is not None:
        given["max_tokens"] = max_tokens
    if request.ignore_eos:
        given["ignore_eos"] = True
    if request.reproducible:
        given["reproducible"] = True
    if request.stop is not None and request.stop != []:
        given["stop"] = _stops(request.stop)
    if request.logit_bias:
        given["logit_bias"] = _biases(request.logit_bias, description.vocabulary_size)
    for name in given:
        require(name, request.model, description)
    return GenerateParameters(**given, **_bounds(request, description), n=answers)


def _bounds(request: SamplingRequest, description: Description) -> dict[str, Any]:
    """What the job calls otherwise than the request does."""
    constraint = read_constraint(
        request.response_format, request.regex, request.grammar, request.structured_outputs
    )
    if constraint is not None:
        require(PARAMETER_OF_KIND[constraint.kind], request.model, description, constraint.param)
    adapters: dict[str, float] = {}
    if request.lora:
        require("lora", request.model, description)
        adapters = read_adapters(request.lora, description)
    return {"constraint": constraint, "adapters": adapters}


def require(name: str, model: str, description: Description, param: str = "") -> None:
    """Raises InvalidRequest unless the model honours the parameter `name`; `param`: where it stands."""
    if name not in description.parameters:
        where = param or name
        raise unsupported(where, f"The model '{model}' does not support '{where}'.")


def check_answers(name: str, count: int | None, model: str, description: Description) -> int:
    """How many answers the parameter `name` asks for. Raises InvalidRequest where that is too many."""
    if count is None or count == 1:
        return 1
    require(name, model, description)
    most = description.limits.get(name, count)
    if count > most:
        raise invalid(name, f"the model gives at most {most} answers, got {count}.")
    return count


def check_total(param: str, items: int, answers: int, most: int) -> None:
    """Refuse a job of more answers than a request may have items."""
    if items * answers > most:
        raise invalid(param, f"{items} prompts with {answers} answers each are over the limit of {most}.")


def refuse_more_than_one(n: int | None) -> None:
    if n is not None and n > 1:
        raise unsupported("n", "'n' must be 1: this route gives one answer a request.")


def streams_usage(request: SamplingRequest) -> bool:
    """Whether the stream ends with a usage chunk."""
    if request.stream_options is None:
        return False
    if not request.stream:
        raise invalid("stream_options", "it is only allowed when 'stream' is true.")
    return bool(request.stream_options.include_usage)


def _stops(stop: str | list[str]) -> list[str]:
    stops = [stop] if isinstance(stop, str) else stop
    if len(stops) > MAX_STOPS:
        raise invalid("stop", f"at most {MAX_STOPS} stop strings, got {len(stops)}.")
    for index, text in enumerate(stops):
        param = "stop" if isinstance(stop, str) else f"stop[{index}]"
        if not text:
            raise invalid(param, "a stop string must not be empty.")
        if len(text) > MAX_STOP_CHARS:
            raise invalid(param, f"at most {MAX_STOP_CHARS} characters, got {len(text)}.")
    return stops


def _biases(biases: dict[int, float], vocabulary_size: int) -> dict[int, float]:
    if len(biases) > MAX_BIASES:
        raise invalid("logit_bias", f"at most {MAX_BIASES} entries, got {len(biases)}.")
    for token in biases:
        if token < 0 or (vocabulary_size and token >= vocabulary_size):
            raise InvalidRequest(
                f"Invalid 'logit_bias': the model has no token {token}; its ids end at {vocabulary_size - 1}."
                if vocabulary_size
                else f"Invalid 'logit_bias': {token} is no token id.",
                "logit_bias",
                "invalid_value",
            )
    return biases
