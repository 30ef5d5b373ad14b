"""Chat with a model that captions pictures: those of the last user message, each answered with its caption.

Such a model reads no questions: what a message says beside its pictures, and earlier turns, change nothing.
Must not know HTTP, the engine or configuration.
"""

from collections.abc import Callable, Iterator, Sequence

from backends.protocol import (
    CaptionParameters,
    CaptionResult,
    Chat,
    Delta,
    Description,
    Finished,
    GenerationResult,
    ItemDone,
    Media,
)
from compat.errors import invalid, unsupported
from compat.openai.chat import ChatCompletionRequest, chat_parameters, conversation_of, decode_chat
from compat.openai.chat_chunks import ChatChunks
from compat.openai.message_media import image_url_of
from compat.openai.messages import RequestMessage
from compat.pictures import read_pictures
from compat.vision import check_pictures


def read_any_chat(
    body: bytes, captions: Callable[[str], bool]
) -> tuple[ChatCompletionRequest, Chat | list[Media]]:
    """The request, and its conversation or, where `captions` says so of the model, its pictures.

    Raises InvalidRequest. Takes time in the body's length: large bodies belong on a thread.
    """
    request = decode_chat(body)
    if captions(request.model):
        return request, _pictures(request.messages)
    return request, conversation_of(request)


def caption_chat_parameters(
    request: ChatCompletionRequest, pictures: Sequence[Media], description: Description
) -> CaptionParameters:
    """Raises InvalidRequest for what the model does not honour."""
    check_pictures(pictures, description, pictures[0].param)
    return CaptionParameters(max_tokens=chat_parameters(request, description).max_tokens)


def as_answer(results: Sequence[CaptionResult]) -> GenerationResult:
    """The captions as one answer, a line each."""
    return GenerationResult(
        "\n".join(result.text for result in results),
        "length" if any(result.finish_reason == "length" for result in results) else "stop",
        sum(result.prompt_tokens for result in results),
        sum(result.completion_tokens for result in results),
    )


class CaptionChunks:
    """A streamed answer: its captions come in one piece, once all are written."""

    def __init__(self, chunks: ChatChunks) -> None:
        self._chunks = chunks
        self._results: dict[int, CaptionResult] = {}

    def opening(self) -> bytes:
        return self._chunks.opening()

    def write(self, output: object) -> bytes:
        if isinstance(output, ItemDone) and isinstance(output.result, CaptionResult):
            self._results[output.item] = output.result
        if not isinstance(output, Finished):
            return b""
        result = as_answer([self._results[item] for item in sorted(self._results)])
        chunks = self._chunks
        delta = chunks.delta(Delta(output.job_id, 0, result.text, result.completion_tokens))
        return delta + chunks.finish(0, result) + chunks.closing([result])


def _pictures(messages: Sequence[RequestMessage]) -> list[Media]:
    for index, message in reversed(list(enumerate(messages))):
        if message.role == "user":
            if urls := list(_urls(message, f"messages[{index}].content")):
                return read_pictures(urls)
            break
    raise invalid("messages", "the model captions pictures: give the last user message an 'image_url' part.")


def _urls(message: RequestMessage, path: str) -> Iterator[tuple[str, str]]:
    for index, part in enumerate(message.content if isinstance(message.content, list) else []):
        here = f"{path}[{index}]"
        if part.type == "image_url":
            yield f"{here}.image_url.url", image_url_of(part, here).url
        elif part.type != "text":
            kind = part.type[:64]
            raise unsupported(here, f"Content of the type '{kind}' is not supported: text and pictures are.")
