"""`/tokenize` and `/detokenize`: what may be asked, the job it becomes, and the answer.

Two servers have given these routes two shapes, and both are understood:

- llama-server: `{"content": text}` gives tokens with nothing added, and reads control tokens in the text;
  `add_special`, `parse_special` and `with_pieces` change that. `{"tokens": [...]}` back gives `content`.
- vLLM: `{"model", "prompt": text}` or `{"model", "messages": [...]}` gives what a completion or a chat answer
  would be computed from; `add_special_tokens` and `return_token_strs` change that. Back it gives `prompt`.

`prompt` takes control tokens in a text as text, as `/v1/completions` does; `parse_special` changes that too.
Must not know HTTP, the engine or configuration.
"""

from array import array
from collections.abc import Sequence
from sys import byteorder
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from backends.protocol import (
    Description,
    DetokenizeResult,
    Item,
    Text,
    TokenizeParameters,
    TokenizeResult,
    Tokens,
)
from compat.decoding import decode
from compat.errors import InvalidRequest, unsupported
from compat.openai.answers import encode
from compat.openai.chat import template_arguments
from compat.openai.inputs import TokenId
from compat.openai.messages import RequestMessage, conversation
from compat.openai.raw import ABSENT, is_given, refuse_unless_harmless
from compat.openai.tools import read_tools

Source = Literal["content", "prompt", "messages"]


class TokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str | None = None
    """Absent: the first chat model."""
    content: str | None = None
    prompt: str | None = None
    messages: list[RequestMessage] | None = None
    add_special: bool | None = None
    add_special_tokens: bool | None = None
    """The same as `add_special`, for `content` and `prompt`. With `messages` the template decides."""
    parse_special: bool | None = None
    with_pieces: bool | None = None
    """`tokens` are objects of id and piece: text, or bytes where it is part of a character."""
    return_token_strs: bool | None = None
    """The pieces beside `tokens`, as `token_strs`."""
    tools: list[Raw] | None = None
    chat_template_kwargs: Raw = ABSENT
    # Known, and refused unless the value asks for nothing.
    add_generation_prompt: Raw = ABSENT
    continue_final_message: Raw = ABSENT
    chat_template: Raw = ABSENT


class DetokenizeRequest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    model: str | None = None
    """Absent: the first chat model."""
    tokens: list[TokenId]


class TokenPiece(Struct, frozen=True):
    id: int
    piece: str | list[int]


class Tokenized(Struct, frozen=True, kw_only=True):
    tokens: Sequence[int | TokenPiece]
    count: int
    max_model_len: int
    """Longest context of the model, tokens; 0: no such limit."""
    token_strs: list[str] | UnsetType = UNSET


class Detokenized(Struct, frozen=True):
    content: str
    prompt: str


HARMLESS: dict[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template": (),
}
_ONLY_TEXT = ("add_special", "add_special_tokens", "parse_special")
_ONLY_MESSAGES = ("tools", "chat_template_kwargs")

_tokenize = msgspec.json.Decoder(TokenizeRequest)
_detokenize = msgspec.json.Decoder(DetokenizeRequest)


def decode_tokenize(body: bytes) -> tuple[TokenizeRequest, Item]:
    """The request, and the text or conversation in it. Raises InvalidRequest."""
    request = decode(body, _tokenize)
    source = _source(request)
    refuse_unless_harmless(request, HARMLESS)
    for name in _ONLY_MESSAGES if source != "messages" else _ONLY_TEXT:
        value = getattr(request, name)
        if is_given(value) if isinstance(value, Raw) else value:
            raise unsupported(name, f"'{name}' does not go with '{source}'.")
    if source != "messages":
        return request, Text((request.content if source == "content" else request.prompt) or "")
    chat = conversation(request.messages or [])
    return request, msgspec.structs.replace(
        chat,
        tools=read_tools(request.tools, ABSENT).tools,
        template_arguments=template_arguments(request.chat_template_kwargs),
    )


def decode_detokenize(body: bytes) -> tuple[DetokenizeRequest, Item]:
    """The request, and the token ids in it. Raises InvalidRequest."""
    request = decode(body, _detokenize)
    return request, Tokens(request.tokens)


def tokenize_parameters(request: TokenizeRequest) -> TokenizeParameters:
    """Raises InvalidRequest."""
    special, older = request.add_special_tokens, request.add_special
    if special is not None and older is not None and special != older:
        raise InvalidRequest(
            "'add_special' differs from 'add_special_tokens'; give one of them.",
            "add_special",
            "invalid_value",
        )
    asked = older if special is None else special
    plain = request.content is not None
    return TokenizeParameters(
        add_special=not plain if asked is None else asked,
        parse_special=plain if request.parse_special is None else request.parse_special,
        pieces=bool(request.with_pieces or request.return_token_strs),
    )


def render_tokenized(request: TokenizeRequest, description: Description, result: TokenizeResult) -> bytes:
    """The whole answer. Takes time in the number of tokens: many belong on a thread."""
    ids = array("i", result.tokens)
    if byteorder == "big":
        ids.byteswap()
    tokens: Sequence[int | TokenPiece] = ids.tolist()
    if request.with_pieces:
        tokens = [TokenPiece(i, _piece(piece)) for i, piece in zip(ids, result.pieces, strict=True)]
    return encode(
        Tokenized(
            tokens=tokens,
            count=len(ids),
            max_model_len=description.context_length,
            token_strs=_texts(result.pieces) if request.return_token_strs else UNSET,
        )
    )


def render_detokenized(result: DetokenizeResult) -> bytes:
    return encode(Detokenized(result.text, result.text))


def _source(request: TokenizeRequest) -> Source:
    sources: tuple[Source, ...] = ("content", "prompt", "messages")
    given = [name for name in sources if getattr(request, name) is not None]
    if len(given) != 1:
        param = given[1] if given else "prompt"
        raise InvalidRequest(
            "Give exactly one of 'content', 'prompt' and 'messages'.", param, "invalid_value"
        )
    return given[0]


def _piece(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


def _texts(pieces: Sequence[bytes]) -> list[str]:
    return [piece.decode("utf-8", "replace") for piece in pieces]
