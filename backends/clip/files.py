"""What there is to know of a CLIP folder, read without loading any weights."""

from pathlib import Path

from msgspec import Struct, field

from backends.model_folder import read_config
from backends.vision.files import VisionConfig
from backends.vision.preprocessing import Preprocessing, read_preprocessing


class _TextConfig(Struct):
    """A file leaves out what is as transformers has it."""

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    pad_token_id: int | None = 1


class _VisionConfig(VisionConfig):
    image_size: int = 224
    patch_size: int = 32


class _Config(Struct):
    model_type: str = ""
    projection_dim: int = 512
    text_config: _TextConfig = field(default_factory=_TextConfig)
    vision_config: _VisionConfig = field(default_factory=_VisionConfig)


class ClipFacts(Struct, frozen=True):
    vocabulary_size: int
    positions: int
    """Longest text, tokens, those around it counted."""
    pad: int
    dimensions: int
    vision: VisionConfig
    preprocessing: Preprocessing


def read_facts(folder: Path) -> ClipFacts:
    """Raises ValueError naming the file and what is wrong with it."""
    config = read_config(folder, _Config)
    if config.model_type != "clip":
        raise ValueError(f"{folder / 'config.json'}: {config.model_type} is not supported, only clip")
    text = config.text_config
    return ClipFacts(
        text.vocab_size,
        text.max_position_embeddings,
        text.pad_token_id or 0,
        config.projection_dim,
        config.vision_config,
        read_preprocessing(folder, config.vision_config.image_size),
    )
