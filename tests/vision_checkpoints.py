"""Small random BLIP and CLIP models, written by transformers' own classes: the formats are the real ones.

What they say means nothing: that they say it alone and in company, and as transformers does, is the point.
"""

from pathlib import Path
from typing import Any

import torch
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
SIZE, PATCH = 32, 8
TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
LOUD = 0.5
"""Spread of random weights, so that pictures make a difference."""


def write_blip(folder: Path, *, processor: bool = False) -> Path:
    """`processor`: settings in `processor_config.json`, as processors are saved, rather than of their own."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = BertTokenizerFast(tokenizer_object=backend, additional_special_tokens=["[DEC]"])
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 24, "encoder_hidden_size": 32}
    tokens = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    config = BlipConfig(
        text_config=TOWER | text | tokens | {"initializer_range": LOUD},
        vision_config=TOWER | {"image_size": SIZE, "patch_size": PATCH, "initializer_range": LOUD},
        projection_dim=16,
        image_text_hidden_size=16,
    )
    torch.manual_seed(7)
    images = BlipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    model = BlipForConditionalGeneration(config).eval()
    _spread(model)
    model.save_pretrained(folder)
    if processor:
        BlipProcessor(images, tokenizer).save_pretrained(folder)
    else:
        tokenizer.save_pretrained(folder)
        images.save_pretrained(folder)
    return folder


def write_clip(folder: Path) -> Path:
    special = ["<|startoftext|>", "<|endoftext|>"]
    letters = [f"{letter}{end}" for end in ("", "</w>") for letter in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = {piece: index for index, piece in enumerate([*letters, *special])}
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[])
    begin, end = vocabulary[special[0]], vocabulary[special[1]]
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 24}
    tokens = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": end}
    config = CLIPConfig(
        text_config=TOWER | text | tokens,
        vision_config=TOWER | {"image_size": SIZE, "patch_size": PATCH},
        projection_dim=16,
    )
    torch.manual_seed(7)
    model = CLIPModel(config).eval()
    _spread(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    ).save_pretrained(folder)
    return folder


def _spread(model: Any) -> None:
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1 and "norm" not in name:
                weights.normal_(0, LOUD)
