"""For all tests."""

import gc
import os
import sys

import pytest
from hypothesis import settings

# CI tries the same examples each time: a change is judged by what it changes. Elsewhere new ones are tried.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")


def pytest_collection_finish() -> None:
    """What has been imported stays: the collector need not go through it again and again."""
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """llama-cpp-python leaves two files open for good: noise at the exit where warnings are errors."""
    library = sys.modules.get("llama_cpp._utils")
    for name in ("outnull_file", "errnull_file"):
        if file := getattr(library, name, None):
            file.close()
