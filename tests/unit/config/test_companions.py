"""Files beside a model's own are found in its parameters, whatever backend it has."""

from typing import Any

from config.companions import companions, files, with_sources
from config.schema import ModelSpec

ADAPTERS = [{"name": "a", "source": "a.gguf", "sha256": "0" * 64}, {"name": "b", "source": "b.gguf"}]


def spec(backend: str = "llama_cpp", task: Any = "generate", **parameters: Any) -> ModelSpec:
    return ModelSpec(
        name="m", backend=backend, tasks=[task], source="m.gguf", licence="MIT", parameters=parameters
    )


def test_each_file_is_like_a_model_of_its_own_to_the_weights_store() -> None:
    found = files(spec(adapters=ADAPTERS))
    assert [(file.name, file.source, file.sha256) for file in found] == [
        ("m", "m.gguf", None),
        ("m", "a.gguf", "0" * 64),
        ("m", "b.gguf", None),
    ]
    assert [file.licence for file in found] == ["MIT", None, None]


def test_sources_are_changed_and_all_else_stays() -> None:
    changed = with_sources(spec(adapters=ADAPTERS, n_ctx=512), lambda source: f"/here/{source}")
    assert changed.source == "m.gguf"
    assert [file.source for file in companions(changed)] == ["/here/a.gguf", "/here/b.gguf"]
    assert changed.parameters["n_ctx"] == 512


def test_a_model_without_any_is_left_as_it_is() -> None:
    plain = spec(n_ctx=512)
    assert with_sources(plain, str.upper) is plain
    assert files(plain) == [plain]


def test_what_another_backends_parameters_mean_is_not_guessed() -> None:
    foreign = spec("mine", adapters=ADAPTERS)
    assert companions(foreign) == []
    assert with_sources(foreign, str.upper) is foreign
