"""`/v1/embeddings`: what may be asked, the job it becomes, and the answer.

Must not know HTTP, the engine or configuration.
"""

import base64
from array import array
from collections.abc import Sequence
from sys import byteorder
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from backends.protocol import Description, EmbeddingResult, EmbedParameters, Item, Media
from compat.decoding import decode
from compat.errors import invalid, unsupported
from compat.openai.answers import encode, quote
from compat.openai.inputs import read_inputs
from compat.openai.picture_inputs import read_picture_inputs, refuse_pictures
from compat.vision import check_pictures

Encoding = Literal["float", "base64"]


class EmbeddingRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str
    input: Raw
    encoding_format: Encoding | None = None
    """Absent means float. base64 is that of the little-endian float32 vector."""
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    user: str | None = None


class EmbeddingUsage(Struct, frozen=True):
    prompt_tokens: int
    total_tokens: int


class Embedding(Struct, frozen=True):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


_decoder = msgspec.json.Decoder(EmbeddingRequest)


def decode_embedding(body: bytes) -> EmbeddingRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def embedding_items(request: EmbeddingRequest, max_items: int, description: Description) -> list[Item]:
    """The inputs, one item each; an empty text is embedded like any other. Raises InvalidRequest."""
    if "image" in description.parameters:
        inputs = read_picture_inputs(request.input, "input", max_items)
        check_pictures([item for item in inputs if isinstance(item, Media)], description, "input")
        return inputs
    items = read_inputs(request.input, "input", max_items, allow_empty=True)
    refuse_pictures(items, "input", request.model)
    return items


def embedding_parameters(request: EmbeddingRequest, description: Description) -> EmbedParameters:
    """Raises InvalidRequest if the model cannot shorten its vectors, or not to that length."""
    wanted = request.dimensions
    if wanted is None or wanted == description.dimensions:
        return EmbedParameters()
    if "dimensions" not in description.parameters:
        raise unsupported("dimensions", f"The model '{request.model}' does not support 'dimensions'.")
    if description.dimensions and wanted > description.dimensions:
        raise invalid("dimensions", f"the model's vectors have {description.dimensions} dimensions.")
    return EmbedParameters(dimensions=wanted)


def render_embeddings(model: str, results: Sequence[EmbeddingResult], encoding: Encoding | None) -> bytes:
    """The whole answer. Takes time in the number of floats: many belong on a thread."""
    tokens = sum(result.prompt_tokens for result in results)
    # One by one: encoding all in one call would hold the interpreter lock for its whole time.
    data = b",".join(
        encode(Embedding("embedding", index, _vector(result.vector, encoding)))
        for index, result in enumerate(results)
    )
    usage = encode(EmbeddingUsage(tokens, tokens))
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (data, quote(model), usage)


def _vector(vector: bytes, encoding: Encoding | None) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector).decode("ascii")
    floats = array("f", vector)
    if byteorder == "big":
        floats.byteswap()
    return floats.tolist()
