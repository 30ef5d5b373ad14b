"""Turns a job into token ids, in the prepare helper: renders, tokenises, checks what the engine relies on.

Holds the vocabulary only, no weights. Never shortens a prompt.
"""

import math
from pathlib import Path

import numpy as np
from jinja2 import TemplateError
from msgspec.structs import replace

from backends.base import JobError, Preparer
from backends.chat.parsers import marks_of
from backends.llama_cpp.answer_grammar import AnswerGrammars
from backends.llama_cpp.backend import PreparedPrompt, PromptPart
from backends.llama_cpp.grammar import GrammarCompiler
from backends.llama_cpp.media_items import read_chat_media
from backends.llama_cpp.model import TokenArray, open_model
from backends.llama_cpp.sizes import Sizes
from backends.llama_cpp.template import ChatTemplate, Part, Rendered
from backends.llama_cpp.tokenizer import VocabularyTokenizer
from backends.protocol import (
    Chat,
    Constraint,
    GenerateParameters,
    Infill,
    Item,
    Job,
    Media,
    Result,
    Text,
    Tokens,
)
from backends.tokens import answer
from config.parameters import LlamaCppParameters
from config.schema import ModelSpec


class LlamaPreparer(Preparer[PreparedPrompt]):
    """`takes_media`: the engine has a projector."""

    def __init__(
        self, spec: ModelSpec, parameters: LlamaCppParameters, path: Path, *, takes_media: bool = False
    ) -> None:
        model = open_model(path, vocab_only=True)
        self._parameters = parameters
        self._takes_media = takes_media
        self._vocabulary = model.vocabulary
        self._context_length = Sizes.of(path, model.metadata(), spec, parameters).context_length
        self._control = {self._vocabulary.text(token): token for token in self._vocabulary.control_tokens()}
        self._template = self._compile(model.chat_template())
        self._grammars = GrammarCompiler(self._vocabulary)
        self._answers = AnswerGrammars(self._grammars, self._control)
        bos = [self._vocabulary.bos] if self._vocabulary.add_bos and self._vocabulary.bos >= 0 else []
        self._tokenizer = VocabularyTokenizer(self._vocabulary, bos, [], self._chat_tokens)

    def prepare(self, job: Job) -> list[PreparedPrompt]:
        if not isinstance(job.parameters, GenerateParameters):
            raise JobError("this model only generates text", param="model")
        check_parameters(job.parameters, self._vocabulary.size)
        constraint = job.parameters.constraint
        prepared = [self._prepare_item(item, constraint) for item in job.items]
        return [self._with_echo(prompt) for prompt in prepared] if job.parameters.echo else prepared

    def answer(self, job: Job) -> list[Result]:
        return answer(job, self._tokenizer)

    def _prepare_item(self, item: Item, constraint: Constraint | None) -> PreparedPrompt:
        if isinstance(item, Chat):
            return self._prepare_chat(item, constraint)
        if isinstance(item, Media):
            raise JobError("this model takes no files", param="file")
        tokens = self._pack(self._tokens(item), "prompt")
        if constraint is None:
            return PreparedPrompt(tokens)
        grammar = self._grammars.whole(self._grammars.constraint(constraint), constraint.param)
        return PreparedPrompt(tokens, grammar=grammar)

    def _with_echo(self, prompt: PreparedPrompt) -> PreparedPrompt:
        """The prompt as the answer's own tokens would write it, so that log-probabilities stand beside it."""
        pieces = map(self._vocabulary.piece, np.frombuffer(prompt.tokens, dtype="<i4").tolist())
        return replace(prompt, echo=b"".join(pieces).decode("utf-8", "replace"))

    def _prepare_chat(self, chat: Chat, constraint: Constraint | None) -> PreparedPrompt:
        rendered = self._render(chat)
        shows = any(message.media for message in chat.messages)
        # What media become depends on the projector, which only the worker has: it counts them, too.
        text_alone = [part for part in rendered.parts if part.media < 0]
        packed = self._pack(self._with_bos(self._join(text_alone)), "messages")
        visible = [self._control[mark] for mark in marks_of(rendered.format) if mark in self._control]
        bounds = self._answers.bounds(chat, rendered, constraint)
        prepared = PreparedPrompt(packed, rendered.format, visible, bounds.grammar, bounds.triggers)
        return self._with_media(prepared, chat, rendered.parts) if shows else prepared

    def _with_media(self, prepared: PreparedPrompt, chat: Chat, parts: list[Part]) -> PreparedPrompt:
        if not self._takes_media:
            raise JobError("this model takes text only", param="messages")
        pieces = [PromptPart(part.text, part.literal, part.media) for part in parts]
        if self._vocabulary.add_bos and self._vocabulary.bos >= 0:
            first = self._join([part for part in parts[:1] if part.media < 0])
            if not len(first) or first[0] != self._vocabulary.bos:
                pieces.insert(0, PromptPart(self._vocabulary.text(self._vocabulary.bos)))
        return replace(prepared, tokens=b"", parts=pieces, media=read_chat_media(chat, self._parameters))

    def _chat_tokens(self, chat: Chat) -> TokenArray:
        if any(message.media for message in chat.messages):
            raise JobError(
                "what pictures and sound become is not known before they are seen", param="messages"
            )
        return self._with_bos(self._join(self._render(chat).parts))

    def _render(self, chat: Chat) -> Rendered:
        if self._template is None:
            raise JobError("this model has no chat template; use completions", param="messages")
        return self._template.render(chat)

    def _pack(self, tokens: TokenArray, param: str) -> bytes:
        """Raises JobError for a prompt that leaves no room for an answer."""
        if len(tokens) >= self._context_length:
            raise JobError(
                f"This model's maximum context length is {self._context_length} tokens. "
                f"However, the prompt in {param!r} has {len(tokens)} tokens, and an answer needs one more.",
                param=param,
                code="context_length_exceeded",
            )
        return tokens.astype("<i4").tobytes()

    def _tokens(self, item: Text | Tokens | Infill) -> TokenArray:
        if isinstance(item, Text):
            return self._with_bos(self._join([Part(item.text, literal=True)]))
        if isinstance(item, Infill):
            return self._with_bos(self._infill(item))
        return self._check_ids(item.ids)

    def _infill(self, item: Infill) -> TokenArray:
        """In the order in which models are trained to fill in: prefix, suffix, middle."""
        marks = self._vocabulary.infill_tokens()
        if marks is None:
            raise JobError("this model was not trained to fill in", param="suffix")
        before, after, between = (np.array([mark], dtype=np.int32) for mark in marks)
        prefix = self._vocabulary.tokenize(item.prefix, parse_special=False)
        suffix = self._vocabulary.tokenize(item.suffix, parse_special=False)
        return np.concatenate([before, prefix, after, suffix, between])

    def _join(self, parts: list[Part]) -> TokenArray:
        pieces = [self._vocabulary.tokenize(part.text, parse_special=not part.literal) for part in parts]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int32)

    def _with_bos(self, tokens: TokenArray) -> TokenArray:
        """BOS in front where the model wants one that is not there yet; never an empty prompt."""
        vocabulary = self._vocabulary
        if len(tokens) and (not vocabulary.add_bos or tokens[0] == vocabulary.bos):
            return tokens
        first = vocabulary.bos if vocabulary.bos >= 0 else vocabulary.eos
        return np.concatenate([np.array([first], dtype=np.int32), tokens])

    def _check_ids(self, ids: list[int]) -> TokenArray:
        size = self._vocabulary.size
        if not ids:
            raise JobError("the prompt has no tokens", param="prompt")
        wrong = next((token for token in ids if not 0 <= token < size), None)
        if wrong is not None:
            raise JobError(f"{wrong} is no token id of this model: it has {size}", param="prompt")
        return np.array(ids, dtype=np.int32)

    def _compile(self, source: str | None) -> ChatTemplate | None:
        if source is None:
            return None
        vocabulary = self._vocabulary
        bos, eos = vocabulary.text(vocabulary.bos), vocabulary.text(vocabulary.eos)
        try:
            return ChatTemplate(source, vocabulary.control_texts(), bos, eos, self._is_token)
        except TemplateError as error:
            raise ValueError(f"the model's chat template is broken: {error}") from error

    def _is_token(self, text: str) -> bool:
        return len(self._vocabulary.tokenize(text, parse_special=True)) == 1


def check_parameters(parameters: GenerateParameters, vocabulary_size: int) -> None:
    """Raises JobError at a value that the samplers cannot work with."""
    for name in ("temperature", "top_p", "min_p", "typical_p", "frequency_penalty", "presence_penalty"):
        value = getattr(parameters, name)
        if value is not None and not math.isfinite(value):
            raise JobError(f"{name} must be a finite number", param=name)
    if parameters.max_tokens is not None and parameters.max_tokens < 1:
        raise JobError("max_tokens must be at least 1", param="max_tokens")
    repeat = parameters.repeat_penalty
    if repeat is not None and not 1e-3 <= repeat <= 1e3:
        raise JobError("repeat_penalty must be from 0.001 to 1000", param="repeat_penalty")
    for name in ("top_k", "repeat_last_n"):
        value = getattr(parameters, name)
        if value is not None and not -1 <= value < 2**31:
            raise JobError(f"{name} must be from -1 to {2**31 - 1}", param=name)
    if parameters.ignore_eos and parameters.constraint is not None:
        raise JobError("an answer that must match something ends where it does", param="ignore_eos")
    for token, bias in parameters.logit_bias.items():
        if not 0 <= token < vocabulary_size:
            raise JobError(
                f"{token} is no token id of this model: it has {vocabulary_size}", param="logit_bias"
            )
        if not math.isfinite(bias):
            raise JobError("a bias must be a finite number", param="logit_bias")
