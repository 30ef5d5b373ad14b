"""The plugin: one GGUF model, described, prepared for and loaded. Imports nothing heavy at module level."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct, field

from backends.base import Backend, PreparedItem, Preparer
from backends.chat.answer import AnswerFormat
from backends.media.spool import remove
from backends.protocol import Description
from config.parameters import LlamaCppEmbeddingParameters, LlamaCppParameters
from config.schema import ModelSpec

if TYPE_CHECKING:
    from backends.llama_cpp.embedding.engine import LlamaEmbeddingEngine
    from backends.llama_cpp.engine import LlamaEngine


class PreparedMedia(Struct, array_like=True):
    """A picture or a recording of a prompt, decoded."""

    kind: Literal["image", "audio"]
    width: int
    """Pixels, or samples."""
    height: int
    digest: bytes
    """Of all of it: equal for equal pictures and for no others."""
    data: bytes
    """RGB, row by row, or float32 samples at 16 kHz …"""
    path: str = ""
    """… or the file that holds them, which whoever takes the item removes."""
    param: str = ""
    """Where in the request it stands, for refusals."""

    def read(self) -> bytes:
        return Path(self.path).read_bytes() if self.path else self.data

    def discard(self) -> None:
        remove(self.path)


class PromptPart(Struct, array_like=True, omit_defaults=True):
    """A piece of a prompt with media. `literal`: no control token may come of its text."""

    text: str = ""
    literal: bool = False
    media: int = -1
    """Which of the prompt's media stands here instead of a text."""


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
    parts: list[PromptPart] = field(default_factory=list)
    """Of a prompt with media, instead of `tokens`: what those become depends on the projector."""
    media: list[PreparedMedia] = field(default_factory=list)

    def discard(self) -> None:
        for one in self.media:
            one.discard()


class LlamaCppBackend(Backend[PreparedPrompt]):
    """Generation or embeddings from a GGUF file. Raises ValueError for what it cannot serve."""

    prepared_type = PreparedPrompt

    def __init__(self, spec: ModelSpec, weights: Path) -> None:
        super().__init__(spec, _gguf_file(weights))
        self._engine: LlamaEngine | LlamaEmbeddingEngine | None = None
        self.parameters = _parameters(spec)
        self.projector = _projector_file(self.parameters, weights)
        """What lets it take pictures or sound; None: it takes text."""

    def describe(self) -> Description:
        from backends.llama_cpp.describe import describe, describe_embedding

        if isinstance(self.parameters, LlamaCppEmbeddingParameters):
            return describe_embedding(self.spec, self.parameters, self.weights)
        return describe(self.spec, self.parameters, self.weights, self.projector)

    def preparer(self) -> Preparer[PreparedPrompt]:
        if isinstance(self.parameters, LlamaCppEmbeddingParameters):
            from backends.llama_cpp.embedding.prepare import LlamaEmbeddingPreparer

            return LlamaEmbeddingPreparer(self.spec, self.parameters, self.weights)
        from backends.llama_cpp.prepare import LlamaPreparer

        takes_media = self.projector is not None
        return LlamaPreparer(self.spec, self.parameters, self.weights, takes_media=takes_media)

    def load(self, device: str) -> "LlamaEngine | LlamaEmbeddingEngine":
        if isinstance(self.parameters, LlamaCppEmbeddingParameters):
            from backends.llama_cpp.embedding.engine import load_embedding_engine

            self._engine = load_embedding_engine(self.spec, self.parameters, self.weights, device)
        else:
            from backends.llama_cpp.load import load_engine

            self._engine = load_engine(
                self.spec,
                self.parameters,
                self.weights,
                device,
                self.projector,
                spread=self.spread,
                report=self.report,
            )
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


def _projector_file(
    parameters: LlamaCppParameters | LlamaCppEmbeddingParameters, weights: Path
) -> Path | None:
    """The file that the configuration names, or the one that lies in the model's folder."""
    if isinstance(parameters, LlamaCppEmbeddingParameters):
        return None
    if parameters.mmproj is not None:
        return Path(parameters.mmproj.source)
    files = sorted(weights.glob("mmproj*.gguf")) if weights.is_dir() else []
    if len(files) > 1:
        raise ValueError(f"{weights} holds {len(files)} projectors; name one as parameters.mmproj")
    return files[0] if files else None


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
