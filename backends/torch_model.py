"""What the backends over transformers share: a network from safetensors, its threads, and lack of memory.

Nothing of a model's folder is run, no pickle is opened and nothing is downloaded. Must not be imported before
`load`: torch and transformers take seconds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from backends.base import OutOfMemory
from backends.cores import own_cores


class NotFinite(ArithmeticError):
    """The model gave NaN or infinity: an answer that must not go out as numbers."""


def read_model(
    kind: Any, folder: Path, dtype: str, may_lack: Sequence[str] = (), variant: str | None = None
) -> Any:
    """The network of `folder` as the transformers class `kind`. Raises ValueError.

    `may_lack`: beginnings of names of weights that are never used and may be missing. `variant`: which of
    several files of the same weights, as transformers names them.
    """
    transformers_logging.disable_progress_bar()
    try:
        model, found = kind.from_pretrained(
            str(folder),
            dtype=getattr(torch, dtype),
            variant=variant,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder}: {error}") from error
    # Transformers makes up random weights for what a file lacks.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(tuple(may_lack)))
    if missing:
        raise ValueError(f"{folder}: the files hold no weights for {', '.join(missing[:3])}")
    return model


def use_threads(n_threads: int | Literal["auto"]) -> None:
    """Compute with so many threads; auto: this process's cores."""
    torch.set_num_threads(own_cores() if n_threads == "auto" else n_threads)


@contextmanager
def out_of_memory() -> Iterator[None]:
    """Torch's ways of saying that there is no room, as the contract's OutOfMemory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise OutOfMemory(str(error)) from error
        raise
