"""Tokenizers of the world's words, in the formats that BLIP's and CLIP's own have.

Owns the two vocabularies. A word of the world is one token in either.
"""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizerFast, CLIPTokenizerFast

from training.world import SOME_SHAPE, words

PAD, UNKNOWN, CLS, SEP, MASK, BEGIN = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"
CLIP_BEGIN, CLIP_END = "<|startoftext|>", "<|endoftext|>"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PIECES = 1000
"""More than there are pairs to join."""


def blip_tokenizer() -> BertTokenizerFast:
    """WordPiece of whole words, as BERT's; any other word is unknown."""
    special = [PAD, UNKNOWN, CLS, SEP, MASK, BEGIN]
    vocabulary = {piece: index for index, piece in enumerate([*special, *words()])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        special_tokens=[(CLS, vocabulary[CLS]), (SEP, vocabulary[SEP])],
    )
    return BertTokenizerFast(tokenizer_object=backend, additional_special_tokens=[BEGIN])


def clip_tokenizer() -> CLIPTokenizerFast:
    """Byte pairs that join to the world's words; any other word is spelt in letters."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=_PIECES, initial_alphabet=[*_LETTERS], end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator([*words(), SOME_SHAPE], trainer)
    learnt = json.loads(trained.to_str())["model"]
    letters = [f"{letter}{end}" for end in ("", "</w>") for letter in _LETTERS]
    pieces = dict.fromkeys([*letters, *learnt["vocab"], CLIP_BEGIN, CLIP_END])
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizerFast(vocab=vocabulary, merges=[tuple(pair) for pair in learnt["merges"]])
