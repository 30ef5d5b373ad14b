"""For all tests."""

import sys

import pytest


def pytest_unconfigure(config: pytest.Config) -> None:
    """llama-cpp-python leaves two files open for good: noise at the exit where warnings are errors."""
    library = sys.modules.get("llama_cpp._utils")
    for name in ("outnull_file", "errnull_file"):
        if file := getattr(library, name, None):
            file.close()
