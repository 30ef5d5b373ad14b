"""For all tests."""

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# CI tries the same examples each time: a change is judged by what it changes. Elsewhere new ones are tried.
# No time counts for either: it is the machine's, and another test's.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def pytest_collection_finish() -> None:
    """What has been imported stays: the collector need not go through it again and again."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """llama-cpp-python leaves two files open for good: noise at the exit where warnings are errors."""
    library = sys.modules.get("llama_cpp._utils")
    for name in ("outnull_file", "errnull_file"):
        if file := getattr(library, name, None):
            file.close()
