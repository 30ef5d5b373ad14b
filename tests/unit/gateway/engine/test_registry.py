"""Names and aliases."""

import pytest

from config.schema import ModelSpec
from gateway.engine.errors import ModelNotFound
from gateway.engine.registry import Registry

SPEC = ModelSpec(name="real", backend="fake", tasks=["generate"], source="x", aliases=["gpt-4o"])


def test_names_and_aliases_resolve() -> None:
    registry = Registry([SPEC])
    assert registry.resolve("real") is registry.resolve("gpt-4o") is SPEC


def test_a_name_wins_over_another_models_alias() -> None:
    other = ModelSpec(name="gpt-4o", backend="fake", tasks=["generate"], source="x")
    assert Registry([SPEC, other]).resolve("gpt-4o") is other


def test_unknown_names_are_shown_short() -> None:
    with pytest.raises(ModelNotFound) as caught:
        Registry([SPEC]).resolve("x" * 5000)
    assert caught.value.param == "model"
    assert len(caught.value.message) < 250


def test_versions_count_up_even_over_a_removal() -> None:
    registry = Registry([SPEC])
    assert registry.version("real") == 1
    assert registry.next_version("real") == 2
    other = ModelSpec(name="real", backend="fake", tasks=["generate"], source="y", aliases=["gpt-5"])
    registry.put(other, 2)
    assert registry.resolve("gpt-5") is other
    assert registry.version("real") == 2
    with pytest.raises(ModelNotFound):
        registry.resolve("gpt-4o")
    registry.remove("real")
    assert registry.version("real") == 0
    assert registry.next_version("real") == 3
