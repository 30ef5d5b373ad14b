"""The plugin: one GGUF model, described, prepared for and loaded. Imports nothing heavy at module level."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import field

from backends.base import Backend, PreparedItem, Preparer
from backends.chat.answer import AnswerFormat
from backends.protocol import Description
from config.parameters import LlamaCppEmbeddingParameters, LlamaCppParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.llama_cpp.embedding.engine import LlamaEmbeddingEngine
    from backends.llama_cpp.engine import LlamaEngine


class PreparedPrompt(PreparedItem, omit_defaults=True):
    """One prompt, and how its answer is to be read and bounded."""

    tokens: bytes
    """Token ids as little-endian int32."""
    format: AnswerFormat = AnswerFormat()
    visible: list[int] = field(default_factory=list)
    """Control tokens that become text in the answer, because its format is written with them."""
    grammar: str = ""
    """What the answer must match, as an llguidance grammar (JSON text); empty: nothing."""
    triggers: list[str] = field(default_factory=list)
    """The grammar holds from the first of these texts on, itself included; empty: from the start."""
    echo: str = ""
    """The prompt as text, where the answer is to begin with it."""


class LlamaCppBackend(Backend[PreparedPrompt]):
    """Generation or embeddings from a GGUF file. Raises ValueError for what it cannot serve."""

    prepared_type = PreparedPrompt

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, _gguf_file(weights))
        self._engine: LlamaEngine | LlamaEmbeddingEngine | None = None
        self.parameters = _parameters(spec)

    def describe(self) -> Description:
        from backends.llama_cpp.describe import describe, describe_embedding

        if isinstance(self.parameters, LlamaCppEmbeddingParameters):
            return describe_embedding(self.spec, self.parameters, self.weights)
        return describe(self.spec, self.parameters, self.weights)

    def preparer(self) -> Preparer[PreparedPrompt]:
        if isinstance(self.parameters, LlamaCppEmbeddingParameters):
            from backends.llama_cpp.embedding.prepare import LlamaEmbeddingPreparer

            return LlamaEmbeddingPreparer(self.spec, self.parameters, self.weights)
        from backends.llama_cpp.prepare import LlamaPreparer

        return LlamaPreparer(self.spec, self.parameters, self.weights)

    def load(self, device: str) -> "LlamaEngine | LlamaEmbeddingEngine":
        if isinstance(self.parameters, LlamaCppEmbeddingParameters):
            from backends.llama_cpp.embedding.engine import load_embedding_engine

            self._engine = load_embedding_engine(self.spec, self.parameters, self.weights, device)
        else:
            from backends.llama_cpp.load import load_engine

            self._engine = load_engine(self.spec, self.parameters, self.weights, device)
        return self._engine

    def unload(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None


def _parameters(spec: ModelSpec) -> LlamaCppParameters | LlamaCppEmbeddingParameters:
    """A file is loaded for one task: generation and embeddings want different contexts."""
    if spec.tasks == ["embed"]:
        return msgspec.convert(spec.parameters, LlamaCppEmbeddingParameters)
    if spec.tasks == ["generate"]:
        return msgspec.convert(spec.parameters, LlamaCppParameters)
    raise ValueError(
        f"{spec.name}: a model of the llama_cpp backend serves the task generate or the task embed, "
        f"not {', '.join(spec.tasks)}"
    )


def _gguf_file(weights: Path) -> Path:
    """The file to open: the path itself, or the first part of the one model in a folder."""
    if not weights.is_dir():
        return weights
    files = sorted(path for path in weights.glob("*.gguf") if not path.name.startswith("mmproj"))
    later_parts = [path for path in files if "-of-" in path.stem and "-00001-of-" not in path.stem]
    files = [path for path in files if path not in later_parts]
    if len(files) != 1:
        raise ValueError(f"{weights} holds {len(files)} GGUF models; name one file")
    return files[0]
