"""Turns the pictures and the prompt of a caption job into pixels and token ids.

Must not import torch or transformers: the prepare helper starts often and has to be quick.
"""

from pathlib import Path

from backends.base import JobError, PreparedItem, Preparer
from backends.blip.files import BlipFacts
from backends.protocol import CaptionParameters, Job, Media
from backends.tokenizer_file import open_tokenizer
from backends.vision.pictures import check_count, pixels_of
from config.parameters import BlipParameters


class BlipItem(PreparedItem, gc=False):
    pixels: bytes
    """See backends.vision.preprocessing.fit."""
    ids: list[int]
    """What the caption begins with: the token that begins every caption, and the prompt's."""
    max_tokens: int
    """Longest caption beyond these."""


class BlipPreparer(Preparer[BlipItem]):
    def __init__(self, folder: Path, facts: BlipFacts, parameters: BlipParameters) -> None:
        self._facts = facts
        self._parameters = parameters
        self._tokenizer = open_tokenizer(folder)

    def prepare(self, job: Job) -> list[BlipItem]:
        asked = job.parameters
        assert isinstance(asked, CaptionParameters)
        check_count(job.items, self._facts.preprocessing)
        ids = [self._facts.begin, *self._tokenizer.encode(asked.prompt, add_special_tokens=False).ids]
        room = self._facts.positions - len(ids)
        if room < 1:
            raise JobError(
                f"The prompt has {len(ids) - 1} tokens, but this model's captions have at most "
                f"{self._facts.positions - 1}.",
                param="prompt",
                code="context_length_exceeded",
            )
        most = min(asked.max_tokens or self._parameters.max_tokens, room)
        items = []
        for item in job.items:
            if not isinstance(item, Media):
                raise JobError("only a picture can be captioned", param="image")
            pixels = pixels_of(item, self._facts.preprocessing, self._parameters)
            items.append(BlipItem(pixels, ids, most))
        return items
