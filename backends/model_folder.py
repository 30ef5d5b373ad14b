"""Reads the JSON files and the weights' headers of model folders, for all backends that have such.

Must not import torch or transformers: describing a model has to be quick. The format of safetensors: eight
bytes of length, little-endian, and so many bytes of JSON that say of each tensor its type and shape; then the
numbers.
"""

import math
import struct
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_MAX_HEADER_BYTES = 100_000_000


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


class _Tensor(Struct):
    shape: list[int]


def count_weights(path: Path) -> int:
    """Numbers in a safetensors file, or in all of a folder. Raises ValueError where there are none."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    count = sum(map(_count, files))
    if count == 0:
        raise ValueError(f"{path} holds no *.safetensors weights")
    return count


def _count(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 0 < length <= _MAX_HEADER_BYTES:
            raise ValueError(f"{path}: it is no safetensors file")
        try:
            tensors = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
            shapes = [
                msgspec.json.decode(raw, type=_Tensor).shape
                for name, raw in tensors.items()
                if name != "__metadata__"
            ]
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}: {error}") from error
    return sum(math.prod(shape) for shape in shapes)
