"""The official JSON Schema test suite, as the source distribution of `jsonschema` carries it."""

import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from config.load import cache_dir, load_config

PACKAGE = "jsonschema==4.26.0"
_INSIDE = "json/tests/draft2020-12/"
_LEFT_OUT = (
    "optional/cross-draft.json",  # needs other documents by name
    "refRemote.json",
    "vocabulary.json",
    "optional/float-overflow.json",
)


class Test(Struct, frozen=True):
    description: str
    data: Any
    valid: bool


class Case(Struct, frozen=True):
    """One schema and what matches it."""

    file: str
    description: str
    schema: Any
    tests: list[Test]


def load_cases() -> list[Case]:
    """Draft 2020-12, its optional parts and formats too; documents by other addresses are left out."""
    return sorted(_read(_archive()), key=lambda case: (case.file, case.description))


def _archive() -> Path:
    folder = cache_dir(load_config()) / "schema-suite"
    name = PACKAGE.replace("==", "-")
    if not (folder / f"{name}.tar.gz").exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", str(folder), PACKAGE], check=True)
    return folder / f"{name}.tar.gz"


def _read(path: Path) -> Iterator[Case]:
    with tarfile.open(path) as archive:
        for member in archive:
            _, found, file = member.name.partition(_INSIDE)
            stream = archive.extractfile(member) if found and file.endswith(".json") else None
            if stream is None or file in _LEFT_OUT:
                continue
            for case in json.load(stream):
                tests = [Test(test["description"], test["data"], test["valid"]) for test in case["tests"]]
                yield Case(file, case["description"], case["schema"], tests)
