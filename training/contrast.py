"""The loss that brings drawings and captions together, for captions that hold for several drawings."""

import torch
from torch.nn import functional


def contrast(likeness: torch.Tensor, own: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy both ways, where a text may hold for several pictures: none of those counts as wrong.

    likeness: [pictures, texts]; own: each picture's text; truth: which texts hold for which pictures.
    """
    rows = torch.arange(len(own))
    also = truth.clone()
    also[rows, own] = False
    to_texts = functional.cross_entropy(likeness.masked_fill(also, -torch.inf), own)
    held = truth.any(dim=0)
    right = likeness.masked_fill(~truth, -torch.inf)[:, held].logsumexp(dim=0)
    to_pictures = (likeness[:, held].logsumexp(dim=0) - right).mean()
    return (to_texts + to_pictures) / 2
