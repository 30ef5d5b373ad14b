"""Small random BLIP and CLIP models, written by transformers' own classes: the formats are the real ones.

What they say means nothing: that they say it alone and in company, and as transformers does, is the point. As
a program, for benchmarks, in the sizes of Salesforce/blip-image-captioning-base and
openai/clip-vit-base-patch32, which take the time that those take:

    python -m tests.vision_checkpoints FOLDER
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertTokenizerFast,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizerFast,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

WORDS = [
    *("a", "an", "the", "photo", "picture", "of", "dog", "cat", "boat", "red", "green"),
    *("blue", "circle", "square", "on", "left", "above", "and", "two", "big"),
]


class Shape(Struct, frozen=True):
    """How large a model is: a text and a vision tower."""

    pixels: int
    patch: int
    width: int
    layers: int
    heads: int
    text_width: int
    text_heads: int
    positions: int
    """Most tokens of a text."""
    projection: int
    words: int = 0
    """Size of the vocabulary; 0: as many as there are."""
    spread: float = 0.02
    """Of random weights."""

    @property
    def text(self) -> dict[str, Any]:
        return self._tower(self.text_width, self.text_heads) | {"max_position_embeddings": self.positions}

    @property
    def vision(self) -> dict[str, Any]:
        return self._tower(self.width, self.heads) | {"image_size": self.pixels, "patch_size": self.patch}

    def _tower(self, width: int, heads: int) -> dict[str, Any]:
        return {
            "hidden_size": width,
            "intermediate_size": width * (2 if self == TINY else 4),
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
        }


TINY = Shape(32, 8, 32, 2, 4, 32, 4, 24, 16, spread=0.5)
"""Loud, so that pictures make a difference."""
BLIP_BASE = Shape(384, 16, 768, 12, 12, 768, 12, 512, 256, words=30524)
CLIP_BASE = Shape(224, 32, 768, 12, 12, 512, 8, 77, 512, words=49408)


def write_blip(folder: Path, shape: Shape = TINY, *, processor: bool = False) -> Path:
    """`processor`: settings in `processor_config.json`, as processors are saved, rather than of their own."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    vocabulary = _numbered([*special, *WORDS], shape.words)
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = BertTokenizerFast(tokenizer_object=backend, additional_special_tokens=["[DEC]"])
    text = {"vocab_size": len(vocabulary), "encoder_hidden_size": shape.width}
    tokens = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    loud = {"initializer_range": shape.spread}
    config = BlipConfig(
        text_config=shape.text | text | tokens | loud,
        vision_config=shape.vision | loud,
        projection_dim=shape.projection,
        image_text_hidden_size=shape.projection,
    )
    torch.manual_seed(7)
    images = BlipImageProcessorPil(size={"height": shape.pixels, "width": shape.pixels})
    model = BlipForConditionalGeneration(config).eval()
    _spread(model, shape.spread)
    model.save_pretrained(folder)
    if processor:
        BlipProcessor(images, tokenizer).save_pretrained(folder)
    else:
        tokenizer.save_pretrained(folder)
        images.save_pretrained(folder)
    return folder


def write_clip(folder: Path, shape: Shape = TINY) -> Path:
    special = ["<|startoftext|>", "<|endoftext|>"]
    letters = [f"{letter}{end}" for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = _numbered([*letters, *special], shape.words)
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[])
    begin, end = vocabulary[special[0]], vocabulary[special[1]]
    text = {"vocab_size": len(vocabulary)}
    tokens = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": end}
    config = CLIPConfig(
        text_config=shape.text | text | tokens,
        vision_config=shape.vision,
        projection_dim=shape.projection,
    )
    torch.manual_seed(7)
    model = CLIPModel(config).eval()
    _spread(model, shape.spread)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = shape.pixels
    CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(folder)
    return folder


def _numbered(pieces: list[str], words: int) -> dict[str, int]:
    """Their places in a vocabulary of so many, those behind them made up."""
    more = [f"word{number}" for number in range(len(pieces), words)]
    return {piece: index for index, piece in enumerate([*pieces, *more])}


def _spread(model: Any, spread: float) -> None:
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1 and "norm" not in name:
                weights.normal_(0, spread)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="to hold `blip` and `clip`")
    folder = parser.parse_args().folder
    write_blip(folder / "blip", BLIP_BASE)
    write_clip(folder / "clip", CLIP_BASE)


if __name__ == "__main__":
    main()
