"""Types for the document of what the code keeps raw: fields decoded later, and answers built as bytes.

Owns these names only. Nothing is decoded or encoded with them but in tests, which hold real frames to them.
"""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from compat import tokens
from compat.cortex.admin import SwapRequest
from compat.cortex.chat import CortexEnd
from compat.openai import chat, images, messages
from compat.openai.answers import Usage
from compat.openai.chat import ChatCompletionRequest
from compat.openai.chat_answers import ChatChoice
from compat.openai.chat_chunks import ChunkCall, ChunkFunction
from compat.openai.completion_answers import TextChoice
from compat.openai.completions import CompletionRequest
from compat.openai.constraints import NamedSchema, StructuredOutputs
from compat.openai.embeddings import Embedding, EmbeddingRequest, EmbeddingUsage
from compat.openai.images import EditForm, ImageReference, PromptSettings
from compat.openai.inputs import TokenId
from compat.openai.logprobs import ChatTokenLogprob
from compat.openai.message_media import ContentPart, ImageUrl, InputAudio
from compat.openai.messages import MessageCall, RequestMessage
from compat.openai.picture_inputs import EmbeddingPart
from compat.openai.sampling import SamplingRequest
from compat.openai.speech import SpeechRequest, VoiceId
from compat.openai.tools import (
    AllowedToolsChoice,
    FunctionDefinition,
    FunctionName,
    FunctionReference,
    FunctionTool,
)
from compat.tokens import TokenizeRequest

# --- answers ------------------------------------------------------------------------------------------


class EmbeddingList(Struct, frozen=True, forbid_unknown_fields=True):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class ChatLogprobs(Struct, frozen=True, forbid_unknown_fields=True):
    content: list[ChatTokenLogprob]
    refusal: None


class CompletionLogprobsObject(Struct, frozen=True, forbid_unknown_fields=True):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class ChatDelta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ChunkCall] | UnsetType = UNSET
    function_call: ChunkFunction | UnsetType = UNSET


class ChatChunkChoice(Struct, frozen=True, forbid_unknown_fields=True):
    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None
    finish_reason: str | None


class ChatCompletionChunk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event of a streamed chat answer. The last one's data is `[DONE]`; a failure is an ErrorEnvelope."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    service_tier: Literal["default"]
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    """There with `stream_options.include_usage`, and null but in the last chunk."""


class CompletionChunkChoice(Struct, frozen=True, forbid_unknown_fields=True):
    index: int
    text: str
    logprobs: CompletionLogprobsObject | None
    finish_reason: str | None


class CompletionChunk(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event of a streamed completion. The last one's data is `[DONE]`; a failure is an ErrorEnvelope."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChunkChoice]
    usage: Usage | UnsetType | None = UNSET


class CortexDelta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a streamed answer of the older route."""

    delta: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET


CORTEX_EVENT = (CortexDelta, CortexEnd)

# --- fields of requests -------------------------------------------------------------------------------


class PlainResponseFormat(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["text", "json_object"]


class SchemaResponseFormat(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    json_schema: NamedSchema


JsonObject = dict[str, Any]
TEXTS_OR_TOKENS = (str, list[str], list[TokenId], list[list[TokenId]])

RAW_FIELDS: dict[tuple[type[Struct], str], tuple[Any, ...]] = {
    (SamplingRequest, "response_format"): (PlainResponseFormat, SchemaResponseFormat),
    (SamplingRequest, "structured_outputs"): (StructuredOutputs,),
    (NamedSchema, "schema"): (JsonObject,),
    (StructuredOutputs, "json"): (JsonObject, str),
    (ChatCompletionRequest, "tools"): (list[FunctionTool],),
    (ChatCompletionRequest, "tool_choice"): (
        Literal["none", "auto", "required"],
        FunctionReference,
        AllowedToolsChoice,
    ),
    (ChatCompletionRequest, "function_call"): (Literal["none", "auto"], FunctionName),
    (ChatCompletionRequest, "chat_template_kwargs"): (JsonObject,),
    (FunctionDefinition, "parameters"): (JsonObject,),
    (ContentPart, "prompt_cache_breakpoint"): (Any,),
    (ContentPart, "image_url"): (ImageUrl,),
    (ContentPart, "input_audio"): (InputAudio,),
    (CompletionRequest, "prompt"): TEXTS_OR_TOKENS,
    (EmbeddingRequest, "input"): (*TEXTS_OR_TOKENS, EmbeddingPart, list[str | EmbeddingPart]),
    (SpeechRequest, "voice"): (str, VoiceId),
    (SwapRequest, "changes"): (JsonObject,),
    (TokenizeRequest, "tools"): (list[FunctionTool],),
    (TokenizeRequest, "chat_template_kwargs"): (JsonObject,),
    (ChatChoice, "logprobs"): (ChatLogprobs,),
    (TextChoice, "logprobs"): (CompletionLogprobsObject,),
}
"""What a raw field may hold, beside null where it has a default."""

REFUSED_FIELDS: dict[tuple[type[Struct], str], tuple[Any, ...]] = {
    **{(ChatCompletionRequest, name): values for name, values in chat.HARMLESS.items()},
    **{(RequestMessage, name): values for name, values in messages.HARMLESS.items()},
    **{(TokenizeRequest, name): values for name, values in tokens.HARMLESS.items()},
    (ChatCompletionRequest, "chat_template"): (),
    **{(kind, name): () for kind in (PromptSettings, EditForm) for name in images.REFUSED},
    (ImageReference, "file_id"): (),
    (ContentPart, "file"): (),
    (MessageCall, "custom"): (),
}
"""Fields that are known, and the values beside null that ask for nothing and are accepted."""
