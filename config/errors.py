"""What can be wrong with a configuration, said in full.

Owns the exception and the wording of suggestions. Must not read files.
"""

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """The configuration cannot be used. `problems` has every fault found, each with its path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def unknown_key(path: str, key: str, known: Iterable[str]) -> str:
    """One line about a key that does not exist, with the nearest one that does."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
    return f"{path}: unknown setting; {hint}"
