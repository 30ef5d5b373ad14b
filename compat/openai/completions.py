"""`/v1/completions`, the older text completion: what may be asked, and the job it becomes.

Owns the request's shape and its translation. Must not know HTTP, the engine or configuration.
"""

from typing import Any

import msgspec
from msgspec import Raw

from backends.protocol import Description, GenerateParameters, Item
from compat.decoding import decode
from compat.openai.inputs import read_inputs
from compat.openai.sampling import (
    ABSENT,
    SamplingRequest,
    generate_parameters,
    refuse_more_than_one,
    refuse_unless_harmless,
)

DEFAULT_MAX_TOKENS = 16
"""What this route has always meant by leaving `max_tokens` out; chat has no such default."""


class CompletionRequest(SamplingRequest, frozen=True, kw_only=True):
    prompt: Raw
    """A text, texts, token ids or lists of token ids; `read_inputs` tells them apart."""
    # Known, and refused unless the value asks for nothing.
    best_of: Raw = ABSENT
    echo: Raw = ABSENT
    logprobs: Raw = ABSENT
    suffix: Raw = ABSENT


_HARMLESS: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (),
    "suffix": ("",),
}

_decoder = msgspec.json.Decoder(CompletionRequest)


def decode_completion(body: bytes) -> CompletionRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def completion_items(request: CompletionRequest, max_items: int) -> list[Item]:
    """The prompts, one item each. Raises InvalidRequest."""
    return read_inputs(request.prompt, "prompt", max_items, allow_empty=False)


def completion_parameters(request: CompletionRequest, description: Description) -> GenerateParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    refuse_more_than_one(request.n)
    refuse_unless_harmless(request, _HARMLESS)
    limit = request.max_tokens
    if limit is None and "max_tokens" in description.parameters:
        limit = DEFAULT_MAX_TOKENS
    return generate_parameters(request, description, limit)
