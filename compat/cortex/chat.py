"""`/api/v1/llm/chat`, the older route: a short way to ask a chat model.

Request: one of `messages` (as in `/v1/chat/completions`), `prompt` or `message` (a single user text), and
optionally `system`, `model` (default: the first chat model), `stream`, the sampling parameters and what
the answer must match (`response_format`, `regex`, `grammar`). Tools and several answers are for
`/v1/chat/completions`.

Answer: `{"id", "model", "message": {"role", "content"}, "finish_reason", "usage"}`; the message of a model
that reasons has `reasoning` too. With `stream`: SSE frames `{"delta": "…"}` (or `{"reasoning": "…"}`), then
one `{"done": true, "id", "model", "finish_reason", "usage"}`. Errors are as under /v1.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from backends.protocol import Chat, Delta, Description, GenerateParameters, GenerationResult
from compat.decoding import decode
from compat.errors import InvalidRequest, unsupported
from compat.openai.answers import Answer, encode, event, quote
from compat.openai.messages import RequestMessage, calls_in, conversation
from compat.openai.sampling import SamplingRequest, generate_parameters, refuse_more_than_one


class CortexChatRequest(SamplingRequest, frozen=True, kw_only=True):
    model: str = ""
    messages: list[RequestMessage] | None = None
    prompt: str | None = None
    message: str | None = None
    system: str | None = None


class CortexUsage(Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CortexMessage(Struct, frozen=True):
    role: Literal["assistant"]
    content: str
    reasoning: str | UnsetType = UNSET


class CortexChat(Struct, frozen=True):
    id: str
    model: str
    message: CortexMessage
    finish_reason: str
    usage: CortexUsage


class CortexEnd(Struct, frozen=True):
    done: Literal[True]
    id: str
    model: str
    finish_reason: str
    usage: CortexUsage


_decoder = msgspec.json.Decoder(CortexChatRequest)


def decode_cortex_chat(body: bytes) -> CortexChatRequest:
    """Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread."""
    return decode(body, _decoder)


def cortex_conversation(request: CortexChatRequest) -> Chat:
    """The conversation that is asked for, in whichever way it is given. Raises InvalidRequest."""
    given = [name for name in ("messages", "prompt", "message") if getattr(request, name) is not None]
    if len(given) != 1:
        param = given[1] if given else "messages"
        raise InvalidRequest(
            "Give exactly one of 'messages', 'prompt' and 'message'.", param, "invalid_value"
        )
    text = request.prompt if request.prompt is not None else request.message
    messages = (request.messages or []) if text is None else [RequestMessage("user", text)]
    if (path := calls_in(messages)) is not None:
        raise unsupported(path, "This route knows no tools; /v1/chat/completions does.")
    return conversation(messages, request.system)


def cortex_parameters(request: CortexChatRequest, description: Description) -> GenerateParameters:
    """Raises InvalidRequest for a parameter that this server or the model does not honour."""
    refuse_more_than_one(request.n)
    return generate_parameters(request, description, request.max_tokens)


def render_cortex_chat(answer: Answer, results: Sequence[GenerationResult]) -> bytes:
    result = results[0]
    message = CortexMessage("assistant", result.text, result.reasoning or UNSET)
    return encode(CortexChat(answer.id, answer.model, message, result.finish_reason, _usage(result)))


class CortexChunks:
    """Frames of one stream; the parts of a stream are those of `compat.openai.chat_chunks.ChatChunks`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: Delta) -> bytes:
        reasoning = b'data: {"reasoning":' + quote(delta.reasoning) + b"}\n\n" if delta.reasoning else b""
        text = b'data: {"delta":' + quote(delta.text) + b"}\n\n" if delta.text else b""
        return reasoning + text

    def finish(self, item: int, result: GenerationResult) -> bytes:
        return b""

    def closing(self, results: Sequence[GenerationResult]) -> bytes:
        result, answer = results[0], self._answer
        end = CortexEnd(True, answer.id, answer.model, result.finish_reason, _usage(result))
        return event(encode(end))


def _usage(result: GenerationResult) -> CortexUsage:
    total = result.prompt_tokens + result.completion_tokens
    return CortexUsage(result.prompt_tokens, result.completion_tokens, total)
