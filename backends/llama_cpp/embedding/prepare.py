"""Turns the inputs of an embedding job into token ids, in the prepare helper. Holds the vocabulary only."""

from pathlib import Path

import numpy as np

from backends.base import Preparer
from backends.embedding_inputs import EmbeddingInputs, InputLimits
from backends.llama_cpp.backend import PreparedPrompt
from backends.llama_cpp.embedding.facts import EmbeddingFacts
from backends.llama_cpp.model import Vocabulary, open_model
from backends.llama_cpp.tokenizer import VocabularyTokenizer
from backends.protocol import Job, Result
from backends.tokens import answer
from config.parameters import LlamaCppEmbeddingParameters
from config.schema import ModelSpec


class LlamaEmbeddingPreparer(Preparer[PreparedPrompt]):
    def __init__(self, spec: ModelSpec, parameters: LlamaCppEmbeddingParameters, path: Path) -> None:
        model = open_model(path, vocab_only=True)
        self._vocabulary = model.vocabulary
        size = self._vocabulary.size
        facts = EmbeddingFacts.of(path, model.metadata(), size, spec, parameters)
        before, after = special_ends(self._vocabulary)
        limits = InputLimits(size, facts.dimensions, facts.context_length, before, after)
        self._inputs = EmbeddingInputs(limits, parameters.token_input, self._encode)
        self._tokenizer = VocabularyTokenizer(self._vocabulary, before, after)

    def prepare(self, job: Job) -> list[PreparedPrompt]:
        """One item of ids for each input. Raises JobError naming the input at fault."""
        return [PreparedPrompt(np.array(ids, dtype="<i4").tobytes()) for ids in self._inputs.token_ids(job)]

    def answer(self, job: Job) -> list[Result]:
        return answer(job, self._tokenizer)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [self._ids(text) for text in texts]

    def _ids(self, text: str) -> list[int]:
        """Never none: an empty text is the token that a text begins or ends with."""
        vocabulary = self._vocabulary
        ids: list[int] = vocabulary.tokenize(text, parse_special=False, add_special=True).tolist()
        return ids or [token for token in (vocabulary.bos, vocabulary.eos) if token >= 0][:1]


def special_ends(vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
    """The ids that the vocabulary puts before and after a text."""
    bare: list[int] = vocabulary.tokenize("a", parse_special=False).tolist()
    whole: list[int] = vocabulary.tokenize("a", parse_special=False, add_special=True).tolist()
    start = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), 0)
    return whole[:start], whole[start + len(bare) :]
