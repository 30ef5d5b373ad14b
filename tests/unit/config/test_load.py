"""The file, the environment on top of it, and how each fault is told."""

from pathlib import Path

import pytest

from config.errors import ConfigError
from config.load import DEFAULT_FILE, load_config
from config.schema import Config

EXAMPLES = sorted((DEFAULT_FILE.parent / "examples").glob("*.yaml"))

MODEL = """
models:
  - name: m
    backend: llama_cpp
    tasks: [generate]
    source: weights/m.gguf
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def problems(file: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """What is wrong with `text`, without the file's name in front."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ or {})
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def test_the_starter_set_is_served_without_a_file() -> None:
    config = load_config(None, {})
    by_name = {model.name: model for model in config.models}
    later = {"whisper-base", "whisper-tiny.en", "shapes-captioner", "shapes-clip"}
    assert set(by_name) == {"smollm2-135m-instruct", "all-minilm-l6-v2", "hibari", *later}
    assert "gpt-4o-mini" in by_name["smollm2-135m-instruct"].aliases
    assert "gpt-4o-mini-tts" in by_name["hibari"].aliases
    assert "text-embedding-3-small" in by_name["all-minilm-l6-v2"].aliases
    assert "whisper-1" in by_name["whisper-base"].aliases
    assert all(model.sha256 and model.licence for model in config.models)
    assert "blip" in by_name["shapes-captioner"].aliases
    assert "clip" in by_name["shapes-clip"].aliases
    assert {model.name for model in config.models if not model.preload} == later
    assert (config.server.host, config.server.port) == ("127.0.0.1", 8000)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_right(example: Path) -> None:
    assert load_config(example, {}).models


def test_folders_in_parameters_are_absolute(file: Path) -> None:
    text = """
models:
  - {name: m, backend: xtts, tasks: [speak], source: x, parameters: {voices_dir: voices, latents_dir: /tmp}}
"""
    assert problems(file, text) == ["models[0].parameters.voices_dir: expected an absolute path"]


def test_there_are_examples() -> None:
    assert {path.name for path in EXAMPLES} >= {"cpu.yaml", "gpu.yaml", "network.yaml"}


def test_a_file_is_complete_by_itself(file: Path) -> None:
    file.write_text("server: {port: 1234}\n")
    config = load_config(file, {})
    assert config.server.port == 1234
    assert config.models == []


def test_an_empty_file_is_all_defaults(file: Path) -> None:
    file.write_text("# nothing\n")
    assert load_config(file, {}) == Config()


def test_unknown_keys_are_refused_with_path_and_suggestion(file: Path) -> None:
    found = problems(file, "server: {portt: 1}\nlimitz: {}\nbackends: {x: {pyton: p}}\n")
    assert found == [
        "server.portt: unknown setting; did you mean 'port'?",
        "limitz: unknown setting; did you mean 'limits'?",
        "backends.x.pyton: unknown setting; did you mean 'python'?",
    ]


def test_unknown_parameters_of_built_in_backends_are_refused(file: Path) -> None:
    text = MODEL + "    parameters: {n_ctxx: 5, n_batch: 0}\n    defaults: {temprature: 1}\n"
    assert problems(file, text) == [
        "models[0].parameters.n_ctxx: unknown setting; did you mean 'n_ctx'?",
        "models[0].parameters.n_batch: expected `int` >= 1",
        "models[0].defaults.temprature: unknown setting; did you mean 'temperature'?",
    ]


def test_parameters_of_a_foreign_backend_are_its_own_affair(file: Path) -> None:
    file.write_text(MODEL.replace("llama_cpp", "theirs") + "    parameters: {anything: [1]}\n")
    assert load_config(file, {}).models[0].parameters == {"anything": [1]}


def test_every_problem_is_told_at_once(file: Path) -> None:
    found = problems(file, "server: {port: 99999, host: 5}\nmodels: [{name: '', replicas: 0}]\n")
    paths = [problem.split(":")[0] for problem in found]
    assert paths == [
        "server.port",
        "server.host",
        "models[0].name",
        "models[0].replicas",
        "models[0].backend",
        "models[0].tasks",
        "models[0].source",
    ]


def test_names_and_aliases_are_one_namespace(file: Path) -> None:
    second = "  - {name: n, aliases: [x, m], backend: llama_cpp, tasks: [generate], source: s}\n"
    assert problems(file, MODEL + second) == ["models[1].aliases[1]: 'm' is already taken by models[0].name"]


def test_a_model_is_pinned_to_a_device_that_exists(file: Path) -> None:
    text = "devices: [{name: cpu, memory_bytes: 5}]\n" + MODEL + "    device: cuda:0\n"
    assert problems(file, text) == ["models[0].device: 'cuda:0' is not among the devices cpu"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("sha256: abc", "models[0].sha256: expected 64 hexadecimal digits"),
        ("tasks: []", "models[0].tasks: name at least one task"),
    ],
)
def test_model_values_are_checked(file: Path, line: str, problem: str) -> None:
    base = MODEL.replace("    tasks: [generate]\n", "") if line.startswith("tasks") else MODEL
    assert problems(file, f"{base}    {line}\n") == [problem]


GGUF = "models:\n  - {name: m, backend: llama_cpp, source: m.gguf, "


@pytest.mark.parametrize(
    "model",
    [
        "tasks: [embed], parameters: {pooling: cls, n_ctx: 512}",
        "tasks: [generate], parameters: {max_step_ms: 9}",
    ],
)
def test_a_gguf_file_generates_or_embeds(file: Path, model: str) -> None:
    file.write_text(f"{GGUF}{model}}}\n")
    assert load_config(file, {}).models


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("tasks: [generate, embed]", "tasks: one entry serves generate or embed, not both"),
        ("tasks: [embed], parameters: {max_step_ms: 9}", "parameters.max_step_ms: unknown setting"),
        ("tasks: [generate], parameters: {pooling: cls}", "parameters.pooling: unknown setting"),
        ("tasks: [embed], parameters: {pooling: rank}", "parameters.pooling: invalid enum value"),
        ("tasks: [embed], defaults: {top_p: 1}", "defaults: a model that embeds samples nothing"),
    ],
)
def test_what_one_task_knows_is_no_setting_of_the_other(file: Path, model: str, problem: str) -> None:
    (found,) = problems(file, f"{GGUF}{model}}}\n")
    assert found.startswith(f"models[0].{problem}")


def test_a_key_that_stands_twice_is_refused_with_its_line(file: Path) -> None:
    file.write_text("server:\n  port: 1\n  port: 2\n")
    with pytest.raises(ConfigError, match=r"config.yaml:3:3: the key 'port' stands twice"):
        load_config(file, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"server: [", "config.yaml:1:10: "),
        (b"- a\n", "expected a mapping of settings, got list"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"server: !!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_a_file_that_is_no_configuration(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    assert message in str(caught.value)


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(file, {})


def test_the_environment_wins_and_its_values_are_yaml(file: Path) -> None:
    file.write_text("server: {port: 1}\n" + MODEL)
    config = load_config(
        file,
        {
            "LLM_CORTEX__SERVER__PORT": "9000",
            "llm_cortex__server__allowed_hosts": "[a.example, b.example]",
            "LLM_CORTEX__LOG__LEVEL": "debug",
            "LLM_CORTEX__MODELS__0__PRELOAD": "true",
            "LLM_CORTEX__MODELS__0__DEFAULTS__TOP_K": "7",
            "LLM_CORTEX__BACKENDS__llama_cpp__ENV__OMP_NUM_THREADS": "'2'",
            "UNRELATED__SERVER__PORT": "5",
        },
    )
    assert config.server.port == 9000
    assert config.server.allowed_hosts == ["a.example", "b.example"]
    assert config.log.level == "debug"
    assert config.models[0].preload is True
    assert config.models[0].defaults["top_k"] == 7
    assert config.backends["llama_cpp"].env == {"OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("LLM_CORTEX__SERVER__PRT", "1", "unknown setting; did you mean 'port'?"),
        ("LLM_CORTEX__SERVER__PORT__X", "1", "there is nothing below to set as 'X'"),
        ("LLM_CORTEX__MODELS__3__NAME", "x", "'3' is no index below 1"),
        ("LLM_CORTEX__SERVER__PORT", "[", "the value is not valid YAML"),
        ("LLM_CORTEX__SERVER__PORT", "many", "server.port: expected `int`, got `str`"),
    ],
)
def test_a_wrong_variable_is_refused(file: Path, variable: str, value: str, message: str) -> None:
    assert any(message in problem for problem in problems(file, MODEL, {variable: value}))


def test_paths_count_from_the_files_folder(file: Path) -> None:
    hub = "  - {name: h, backend: sentence, tasks: [embed], source: 'hf:o/n'}\n"
    file.write_text("paths: {cache_dir: here}\nauth: {keys_file: /k.json}\n" + MODEL + hub)
    config = load_config(file, {})
    assert config.models[0].source == str(file.parent / "weights/m.gguf")
    assert config.models[1].source == "hf:o/n"
    assert config.paths.cache_dir == str(file.parent / "here")
    assert config.auth.keys_file == "/k.json"


ADAPTERS = """
    parameters:
      adapters:
        - {name: a, source: lora/a.gguf, scale: 0.5}
        - {name: b, source: "hf:o/n/b.gguf"}
"""


def test_paths_of_adapters_count_from_the_files_folder(file: Path) -> None:
    file.write_text(MODEL + ADAPTERS)
    (model,) = load_config(file, {}).models
    adapters = model.parameters["adapters"]
    assert [adapter["source"] for adapter in adapters] == [
        str(file.parent / "lora/a.gguf"),
        "hf:o/n/b.gguf",
    ]
    assert [adapter["scale"] for adapter in adapters] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{name: a, source: x}", "models[0].parameters.adapters[2].name: 'a' stands twice"),
        ("{name: c, source: x, sha256: abc}", "models[0].parameters.adapters[2].sha256: expected 64"),
        ("{name: c}", "models[0].parameters.adapters[2].source: missing"),
        ("{name: c, source: x, scale: 1000}", "models[0].parameters.adapters[2].scale: expected"),
        ("{name: c, source: x, weight: 1}", "models[0].parameters.adapters[2].weight: unknown setting"),
    ],
)
def test_adapters_are_checked(file: Path, line: str, problem: str) -> None:
    (told,) = problems(file, f"{MODEL}{ADAPTERS}        - {line}\n")
    assert told.startswith(problem)


@pytest.mark.parametrize(
    "text",
    ["note: 2024-13-45", "memory_bytes: 0x_", "x: " + "[" * 1500, "x: !!bool x", "x: !!timestamp x"],
)
def test_what_yaml_cannot_make_a_value_of_is_a_fault_of_the_file(file: Path, text: str) -> None:
    (problem,) = problems(file, text)
    assert "nested too deep" in problem or "a value cannot be read" in problem


@pytest.mark.parametrize("value", ["2024-13-45", "0x_", "[" * 1500])
def test_so_it_is_in_a_variable(file: Path, value: str) -> None:
    variable = "LLM_CORTEX__SERVER__PORT"
    assert problems(file, "", {variable: value}) == [f"{variable}: the value is not valid YAML"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "memory_bytes: 18446744073709551616",
            "models[0].memory_bytes: expected `int` <= 9223372036854775807",
        ),
        (
            "max_sessions: 18446744073709551616",
            "models[0].max_sessions: expected `int` <= 9223372036854775807",
        ),
        (
            "parameters: {a: {b: [1, -18446744073709551616]}}",
            "models[0].parameters.a: whole numbers are at most 9223372036854775807",
        ),
        ("parameters: {a: &a [*a]}", "models[0].parameters.a: is nested too deep"),
    ],
)
def test_what_no_worker_can_be_sent_is_refused(file: Path, line: str, problem: str) -> None:
    text = f"models: [{{name: m, backend: fake, tasks: [generate], source: x, {line}}}]"
    assert problems(file, text) == [problem]


@pytest.mark.parametrize(
    "origin", ["*", "https://*.example.org", "chat.example", "https://a/b", "null", "https://", "https://a:b"]
)
def test_an_origin_that_no_browser_sends_is_refused(file: Path, origin: str) -> None:
    (problem,) = problems(file, f"server: {{allowed_origins: ['{origin}']}}")
    assert problem.startswith("server.allowed_origins[0]: expected scheme://host[:port], got ")
    assert ("name each one" in problem) == ("*" in origin)


def test_origins_have_any_scheme(file: Path) -> None:
    origins = ["chrome-extension://abc", "https://a.example:8443/", "http://[::1]:80", "tauri://localhost"]
    file.write_text(f"server: {{allowed_origins: {origins}}}")
    assert load_config(file, {}).server.allowed_origins == origins
