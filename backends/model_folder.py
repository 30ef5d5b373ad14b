"""Reads the JSON files of a model folder, for the backends over transformers and over CTranslate2.

Must not import torch or transformers: describing a model has to be quick.
"""

from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def read_json(path: Path, kind: type[T]) -> T | None:
    """The file decoded as `kind`, or None where there is no such file. Raises ValueError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path}: {error}") from error


def read_config(folder: Path, kind: type[T]) -> T:
    """`config.json` of a folder in the layout of transformers. Raises ValueError."""
    config = read_json(folder / "config.json", kind)
    if config is None:
        raise ValueError(f"{folder} holds no config.json: it is no transformers model folder")
    return config
