"""What a GGUF file says about itself, without loading its weights."""

from pathlib import Path

from backends.llama_cpp.devices import device_kinds
from backends.llama_cpp.library import C
from backends.llama_cpp.model import open_model
from backends.llama_cpp.sampling import HONOURED, check_defaults
from backends.llama_cpp.sizes import Sizes
from backends.protocol import Description
from config.schema import LlamaCppParameters, ModelSpec

_FACTS = {
    "architecture": "general.architecture",
    "name": "general.name",
    "size": "general.size_label",
    "organisation": "general.organization",
}


def describe(spec: ModelSpec, parameters: LlamaCppParameters, path: Path) -> Description:
    """Raises ValueError for a file that is no GGUF language model."""
    check_defaults(spec.defaults)
    model = open_model(path, vocab_only=True)
    try:
        metadata = model.metadata()
        has_template = model.chat_template() is not None
        vocabulary_size = model.vocabulary.size
    finally:
        model.close()
    sizes = Sizes.of(path, metadata, spec, parameters)
    details = {fact: metadata[key] for fact, key in _FACTS.items() if key in metadata}
    details["chat_template"] = "yes" if has_template else "no"
    if metadata.get("general.file_type", "").isdigit():
        name = C.llama_ftype_name(int(metadata["general.file_type"]))
        details["quantisation"] = name.decode() if name else "unknown"
    return Description(
        tasks=["generate"],
        parameters=HONOURED,
        context_length=sizes.context_length,
        vocabulary_size=vocabulary_size,
        memory_bytes=sizes.memory_bytes,
        licence=spec.licence or metadata.get("general.license", ""),
        details=details,
        device_kinds=device_kinds(parameters),
    )
