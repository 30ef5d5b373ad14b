"""Where training starts, and what counts as wrong in it."""

import torch

from training.contrast import contrast
from training.starting import CODED, Tower, look_around

WIDTH, SIDE = 64, 8


def tower() -> Tower:
    layer = torch.zeros(WIDTH, WIDTH), torch.zeros(WIDTH, WIDTH)
    start = Tower(torch.zeros(1 + SIDE * SIDE, WIDTH), torch.zeros(WIDTH, 3, 6, 6), [layer])
    look_around(start)
    return start


def test_every_head_looks_at_a_neighbour() -> None:
    start = tower()
    ((query, key),) = start.layers
    states = start.positions[1:]
    middle = 3 * SIDE + 3
    seen = []
    for head in range(WIDTH // CODED):
        rows = slice(head * CODED, (head + 1) * CODED)
        scores = (states @ query[rows].T) @ (states @ key[rows].T).T
        seen.append(int(scores[middle].argmax()) - middle)
    assert seen == [1, -1, SIDE, -SIDE]


def test_patches_do_not_disturb_the_places() -> None:
    start = tower()
    assert not start.patch[:CODED].any()
    assert start.patch[CODED:].std() > 0.01
    assert not start.positions[:, CODED:].any()


def test_what_is_true_of_a_picture_is_no_mistake() -> None:
    own = torch.tensor([0, 1])
    alone = torch.eye(2, 3, dtype=torch.bool)
    also = alone.clone()
    also[0, 2] = True
    likeness = torch.tensor([[5.0, 0.0, 5.0], [0.0, 5.0, 0.0]], requires_grad=True)
    strict, fair = contrast(likeness, own, alone), contrast(likeness, own, also)
    assert fair.item() < 0.1 < strict.item()
    fair.backward()
    assert likeness.grad is not None
    assert bool(torch.isfinite(likeness.grad).all())
