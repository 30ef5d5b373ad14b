"""The loop that both trainings share: steps, learning rate, and going on where an earlier run ended.

Owns the optimizer and its checkpoints. What a step does is seeded by its number alone, so that a run which
was interrupted gives what it would have given. Must not know what is learnt.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec import Struct

_SAVE_EVERY_S = 60.0
_REPORT_EVERY = 200
_CLIP = 1.0


class Plan(Struct, frozen=True):
    steps: int
    rate: float
    """Highest learning rate; it rises to it over `warm_up` steps and falls to nothing as a cosine does."""
    warm_up: int = 200
    decay: float = 0.02
    seed: int = 1


def arguments(about: str, steps: int) -> argparse.Namespace:
    """What either training is asked with."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--steps", type=int, default=steps, help="batches to learn from")
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    parser.add_argument("--out", type=Path, help="folder to write the model to; default: into the package")
    parser.add_argument(
        "--checkpoint", type=Path, help="file to go on from, and to write to every minute; default: none"
    )
    return parser.parse_args()


def train(model: Any, plan: Plan, loss_of: Callable[[int], torch.Tensor], checkpoint: Path | None) -> None:
    """Changes `model` in place. `loss_of` computes the loss of the batch of a step."""
    optimizer = torch.optim.AdamW(_groups(model, plan.decay), lr=plan.rate, betas=(0.9, 0.98))
    done = _resume(model, optimizer, checkpoint)
    saved = time.monotonic()
    total = 0.0
    for step in range(done, plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * _share(step, plan)
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        total += loss.item()
        if (step + 1) % _REPORT_EVERY == 0:
            print(f"step {step + 1}/{plan.steps}: loss {total / _REPORT_EVERY:.4f}", flush=True)
            total = 0.0
        if checkpoint and time.monotonic() - saved > _SAVE_EVERY_S:
            _save(model, optimizer, step + 1, checkpoint)
            saved = time.monotonic()
    if checkpoint:
        _save(model, optimizer, plan.steps, checkpoint)


def _share(step: int, plan: Plan) -> float:
    if step < plan.warm_up:
        return (step + 1) / plan.warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - plan.warm_up) / max(1, plan.steps - plan.warm_up))


def _groups(model: Any, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms and single numbers do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": decay},
        {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0},
    ]


def _resume(model: Any, optimizer: torch.optim.Optimizer, checkpoint: Path | None) -> int:
    if checkpoint is None or not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    print(f"going on at step {state['step']} of {checkpoint}", flush=True)
    return int(state["step"])


def _save(model: Any, optimizer: torch.optim.Optimizer, step: int, checkpoint: Path) -> None:
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    new = checkpoint.with_suffix(".new")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, new)
    os.replace(new, checkpoint)
