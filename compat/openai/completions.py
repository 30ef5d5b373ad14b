"""`/v1/completions`, the older text completion: what may be asked, and the job it becomes.

Owns the request's shape and its translation. Must not know HTTP, the engine or configuration.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from backends.protocol import Description, GenerateParameters, Infill, Item, Text
from compat.decoding import decode
from compat.errors import invalid
from compat.openai.completion_answers import CompletionForm
from compat.openai.inputs import read_inputs
from compat.openai.sampling import (
    Answers,
    SamplingRequest,
    check_answers,
    check_total,
    generate_parameters,
    require,
)

DEFAULT_MAX_TOKENS = 16
"""What this route has always meant by leaving `max_tokens` out; chat has no such default."""


class CompletionRequest(SamplingRequest, frozen=True, kw_only=True):
    prompt: Raw
    """A text, texts, token ids or lists of token ids; `read_inputs` tells them apart."""
    best_of: Answers | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    suffix: str | None = None


_decoder = msgspec.json.Decoder(CompletionRequest)


def decode_completion(body: bytes) -> CompletionRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def completion_items(request: CompletionRequest, max_items: int) -> list[Item]:
    """The prompts, one item each. Raises InvalidRequest."""
    items = read_inputs(request.prompt, "prompt", max_items, allow_empty=bool(request.suffix))
    form = completion_form(request)
    check_total("best_of" if form.candidates > form.answers else "n", len(items), form.candidates, max_items)
    return [_infill(item, request.suffix) for item in items] if request.suffix else items


def completion_parameters(request: CompletionRequest, description: Description) -> GenerateParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    _check_choices(request)
    for name in ("echo", "suffix"):
        if getattr(request, name):
            require(name, request.model, description)
    answers = max(
        check_answers(name, getattr(request, name), request.model, description) for name in ("n", "best_of")
    )
    limit = request.max_tokens
    if limit is None and "max_tokens" in description.parameters:
        limit = DEFAULT_MAX_TOKENS
    parameters = generate_parameters(request, description, limit, answers)
    return msgspec.structs.replace(
        parameters, logprobs=_logprobs(request, description), echo=bool(request.echo)
    )


def completion_form(request: CompletionRequest) -> CompletionForm:
    """What decides the shape of the answer."""
    answers = request.n or 1
    return CompletionForm(
        answers=answers,
        candidates=max(answers, request.best_of or 1),
        logprobs=request.logprobs is not None,
        echo=bool(request.echo),
    )


def _check_choices(request: CompletionRequest) -> None:
    if request.best_of is not None:
        if request.best_of < (request.n or 1):
            raise invalid("best_of", "it must not be less than 'n'.")
        if request.stream and request.best_of > (request.n or 1):
            raise invalid("best_of", "the best answers cannot be streamed: they are known at the end.")
    if request.echo and request.suffix:
        raise invalid("echo", "it does not go together with 'suffix'.")


def _logprobs(request: CompletionRequest, description: Description) -> int | None:
    if request.logprobs is not None:
        require("logprobs", request.model, description)
        most = description.limits.get("logprobs", request.logprobs)
        if request.logprobs > most:
            raise invalid("logprobs", f"the model gives at most {most}, got {request.logprobs}.")
        return request.logprobs
    form = completion_form(request)
    return 0 if form.candidates > form.answers else None  # the best are chosen by them


def _infill(item: Item, suffix: str) -> Item:
    if not isinstance(item, Text):
        raise invalid("suffix", "it goes with prompts of text, not of token ids.")
    return Infill(item.text, suffix)
