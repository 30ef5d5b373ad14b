"""The environment that a child gets: ours, and what its backend's settings add."""

import os
from collections.abc import Mapping


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **extra}
