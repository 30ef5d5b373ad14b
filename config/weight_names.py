"""Names of the weights in folders of diffusers' layout, where a network may lie in several forms. Pure.

Owns which of them are the same numbers: fetching and loading have to agree on it.
"""

import re
from collections.abc import Iterable

INDEX = "model_index.json"
"""Names the parts of a pipeline; each is a folder beside it."""
NEVER_LOADED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts that painting does without, whatever they are."""
_WEIGHTS = re.compile(
    r"(?:model|diffusion_pytorch_model)(?P<half>\.fp16)?(?:-\d{5}-of-\d{5})?(?P<half_shard>\.fp16)?\.safetensors"
)


def forms(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Of the files in a part's folder the plain weights and those of 16 bits, in order. Others are neither:
    pickles, and weights for going on with the training."""
    plain: list[str] = []
    halves: list[str] = []
    for name in sorted(names):
        if match := _WEIGHTS.fullmatch(name):
            (halves if match["half"] or match["half_shard"] else plain).append(name)
    return plain, halves
