"""What a GGUF file says about itself, without loading its weights."""

from collections.abc import Mapping
from pathlib import Path

from jinja2 import TemplateError

from backends.llama_cpp.adapters import check_adapters, memory_bytes
from backends.llama_cpp.devices import can_split, device_kinds
from backends.llama_cpp.embedding.facts import EmbeddingFacts, is_causal
from backends.llama_cpp.jinja import JinjaTemplate
from backends.llama_cpp.library import C
from backends.llama_cpp.model import open_model
from backends.llama_cpp.projector import Senses, senses_of
from backends.llama_cpp.sampling import HONOURED, LIMITS, check_defaults
from backends.llama_cpp.sizes import COMPUTE_BYTES, Sizes, file_bytes
from backends.llama_cpp.template import knows_effort
from backends.protocol import Description
from backends.tokens import TOKEN_TASKS
from config.parameters import LlamaCppEmbeddingParameters, LlamaCppParameters
from config.schema import ModelSpec

_FACTS = {
    "architecture": "general.architecture",
    "name": "general.name",
    "size": "general.size_label",
    "organisation": "general.organization",
}


def describe(
    spec: ModelSpec, parameters: LlamaCppParameters, path: Path, projector: Path | None = None
) -> Description:
    """Raises ValueError for a file that is no GGUF language model, or a projector that is none."""
    check_defaults(spec.defaults)
    check_adapters(path, parameters.adapters)
    model = open_model(path, vocab_only=True)
    try:
        metadata = model.metadata()
        template = model.chat_template()
        vocabulary_size = model.vocabulary.size
        fills_in = model.vocabulary.infill_tokens() is not None
    finally:
        model.close()
    if not is_causal(metadata):
        raise ValueError(f"{path.name} is an encoder: it writes no text; serve it with tasks: [embed]")
    sizes = Sizes.of(path, metadata, spec, parameters)
    details = file_details(metadata)
    details["chat_template"] = "no" if template is None else "yes"
    senses = Senses(False, False) if projector is None else senses_of(projector)
    return Description(
        tasks=["generate", *TOKEN_TASKS],
        parameters=[
            *HONOURED,
            *_told_to(template),
            *["suffix"] * fills_in,
            *["reproducible"] * parameters.reproducible,
            *["lora"] * bool(parameters.adapters),
            *["image"] * senses.image,
            *["audio"] * senses.audio,
        ],
        limits=LIMITS if projector is None else LIMITS | {"media": parameters.max_media},
        context_length=sizes.context_length,
        vocabulary_size=vocabulary_size,
        memory_bytes=sizes.memory_bytes + _more_memory(spec, parameters, projector),
        licence=spec.licence or metadata.get("general.license", ""),
        details=details,
        device_kinds=device_kinds(parameters),
        splits=can_split(parameters),
        adapters=[file.name for file in parameters.adapters],
    )


def _more_memory(spec: ModelSpec, parameters: LlamaCppParameters, projector: Path | None) -> int:
    """Of adapters and a projector; none where the configuration says what all takes."""
    if spec.memory_bytes:
        return 0
    seeing = 0 if projector is None else file_bytes(projector) + COMPUTE_BYTES + parameters.media_cache_bytes
    return memory_bytes(parameters.adapters) + seeing


def _told_to(template: str | None) -> list[str]:
    """What a request may tell the chat template. One that is broken is a fault of the load, not of this."""
    if template is None:
        return []
    try:
        variables = JinjaTemplate(template).variables
    except TemplateError:
        return []
    return ["tools", "chat_template_kwargs", *["reasoning_effort"] * knows_effort(variables)]


def describe_embedding(spec: ModelSpec, parameters: LlamaCppEmbeddingParameters, path: Path) -> Description:
    """Raises ValueError for a file that gives no embeddings."""
    model = open_model(path, vocab_only=True)
    try:
        metadata = model.metadata()
        vocabulary_size = model.vocabulary.size
        if C.llama_model_has_encoder(model.handle) and C.llama_model_has_decoder(model.handle):
            raise ValueError(f"{path.name} is an encoder-decoder model: it gives no embeddings")
    finally:
        model.close()
    facts = EmbeddingFacts.of(path, metadata, vocabulary_size, spec, parameters)
    details = file_details(metadata)
    details["pooling"] = facts.pooling
    details["attention"] = "causal" if facts.causal else "both ways"
    details["token_input"] = parameters.token_input
    return Description(
        tasks=["embed", *TOKEN_TASKS],
        parameters=[],
        context_length=facts.context_length,
        dimensions=facts.dimensions,
        vocabulary_size=vocabulary_size,
        memory_bytes=facts.memory_bytes,
        licence=spec.licence or metadata.get("general.license", ""),
        details=details,
        device_kinds=device_kinds(parameters),
    )


def file_details(metadata: Mapping[str, str]) -> dict[str, str]:
    """Facts for people, whatever the file serves."""
    details = {fact: metadata[key] for fact, key in _FACTS.items() if key in metadata}
    if metadata.get("general.file_type", "").isdigit():
        name = C.llama_ftype_name(int(metadata["general.file_type"]))
        details["quantisation"] = name.decode() if name else "unknown"
    return details
