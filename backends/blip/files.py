"""What there is to know of a BLIP folder, read without loading any weights."""

from pathlib import Path

from msgspec import Struct, field

from backends.model_folder import read_config
from backends.vision.files import VisionConfig
from backends.vision.preprocessing import Preprocessing, read_preprocessing
from config.parameters import BlipParameters

ARCHITECTURE = "BlipForConditionalGeneration"


class _TextConfig(Struct):
    """A file leaves out what is as transformers has it."""

    vocab_size: int = 30524
    max_position_embeddings: int = 512
    bos_token_id: int = 30522
    sep_token_id: int = 102
    pad_token_id: int | None = 0


class _Config(Struct):
    model_type: str = ""
    architectures: list[str] | None = None
    text_config: _TextConfig = field(default_factory=_TextConfig)
    vision_config: VisionConfig = field(default_factory=VisionConfig)


class BlipFacts(Struct, frozen=True):
    vocabulary_size: int
    positions: int
    """Most tokens of a caption, its prompt and the token that begins it counted."""
    begin: int
    """Token that begins every caption."""
    end: int
    """Token that ends it."""
    pad: int
    vision: VisionConfig
    preprocessing: Preprocessing


def read_facts(folder: Path, parameters: BlipParameters) -> BlipFacts:
    """Raises ValueError naming the file and what is wrong with it."""
    config = read_config(folder, _Config)
    architecture = (config.architectures or [config.model_type])[0]
    if config.model_type != "blip" or architecture != ARCHITECTURE:
        raise ValueError(f"{folder / 'config.json'}: {architecture} is not supported, only {ARCHITECTURE}")
    text = config.text_config
    if parameters.max_tokens >= text.max_position_embeddings:
        most = text.max_position_embeddings - 1
        raise ValueError(f"max_tokens is {parameters.max_tokens}, but the model writes at most {most}")
    return BlipFacts(
        text.vocab_size,
        text.max_position_embeddings,
        text.bos_token_id,
        text.sep_token_id,
        text.pad_token_id or 0,
        config.vision_config,
        read_preprocessing(folder, config.vision_config.image_size),
    )
