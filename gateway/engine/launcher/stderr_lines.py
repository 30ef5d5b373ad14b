"""The last lines that a child wrote to stderr, fit to be shown to an administrator.

Owns what is kept of them: few, short, and without the secrets that a library may print of its environment.
"""

import re
from collections import deque
from collections.abc import Mapping

KEPT_LINES = 40
LINE_CHARS = 500
REMOVED = "[removed]"

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 6
"""A shorter value is part of too many words."""
_SECRET_FORM = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{8,}|hf_[A-Za-z0-9]{8,})"  # API keys, ours among them; tokens of the hub
    r"|(?<=Bearer )\S+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # a name and a password in an address
)


class StderrLines:
    """`environment` is the child's: values of variables named like secrets are taken out."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        values = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
        self._secrets = sorted((v for v in values if len(v) >= _SHORTEST_SECRET), key=len, reverse=True)

    def add(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        for secret in self._secrets:
            text = text.replace(secret, REMOVED)
        self._lines.append(_SECRET_FORM.sub(REMOVED, text)[:LINE_CHARS])

    def last(self, count: int = KEPT_LINES) -> list[str]:
        return list(self._lines)[-count:]
