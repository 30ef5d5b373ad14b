"""Turns pictures, labels and texts into pixels and token ids.

Must not import torch or transformers: the prepare helper starts often and has to be quick.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import field

from backends.base import JobError, PreparedItem, Preparer
from backends.clip.files import ClipFacts
from backends.embedding_inputs import EmbeddingInputs, InputLimits
from backends.protocol import ClassifyParameters, Job, Media, Text
from backends.tokenizer_file import open_tokenizer, special_ends
from backends.vision.pictures import check_count, pixels_of
from config.parameters import ClipParameters


class ClipItem(PreparedItem):
    """A picture, a text, or a picture and the labels that it is weighed against."""

    pixels: bytes = b""
    """See backends.vision.preprocessing.fit; empty: a text is to be embedded."""
    texts: list[list[int]] = field(default_factory=list)
    """Ids of the labels or of the text, with the tokens around them."""


class ClipPreparer(Preparer[ClipItem]):
    def __init__(self, folder: Path, facts: ClipFacts, parameters: ClipParameters) -> None:
        self._facts = facts
        self._parameters = parameters
        self._tokenizer = open_tokenizer(folder)
        before, after = special_ends(self._tokenizer)
        limits = InputLimits(facts.vocabulary_size, facts.dimensions, facts.positions, before, after)
        self._inputs = EmbeddingInputs(limits, "model", self._encode)

    def prepare(self, job: Job) -> list[ClipItem]:
        """Raises JobError naming the picture, label or input at fault."""
        check_count(job.items, self._facts.preprocessing)
        if isinstance(job.parameters, ClassifyParameters):
            return list(self._weighed(job, self._labels(job.parameters)))
        return list(self._embedded(job))

    def _weighed(self, job: Job, labels: list[list[int]]) -> Iterator[ClipItem]:
        for item in job.items:
            if not isinstance(item, Media):
                raise JobError("only a picture can be classified", param="image")
            yield ClipItem(pixels_of(item, self._facts.preprocessing, self._parameters), labels)

    def _embedded(self, job: Job) -> Iterator[ClipItem]:
        # A picture stands as any text while the texts are checked: messages count all inputs.
        items = [Text("a") if isinstance(item, Media) else item for item in job.items]
        ids = self._inputs.token_ids(msgspec.structs.replace(job, items=items))
        for item, sequence in zip(job.items, ids, strict=True):
            if isinstance(item, Media):
                yield ClipItem(pixels_of(item, self._facts.preprocessing, self._parameters))
            else:
                yield ClipItem(texts=[sequence])

    def _labels(self, asked: ClassifyParameters) -> list[list[int]]:
        template = asked.template or self._parameters.label_template
        encoded = self._encode([template.replace("{}", label) for label in asked.labels])
        for index, ids in enumerate(encoded):
            if len(ids) > self._facts.positions:
                most = self._facts.positions
                raise JobError(
                    f"Label {index} has {len(ids)} tokens, but this model reads at most {most}.",
                    param=f"labels[{index}]",
                    code="context_length_exceeded",
                )
        return encoded

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [list(encoding.ids) for encoding in self._tokenizer.encode_batch_fast(texts)]
