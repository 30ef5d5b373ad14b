"""The command line: what is printed where, and what a mistake ends in."""

import json
from pathlib import Path

import pytest
import yaml

from gateway.cli import main

CONFIG = """
paths: {{cache_dir: {folder}/cache, data_dir: {folder}/data}}
models:
  - name: here
    aliases: [also]
    backend: llama_cpp
    tasks: [generate]
    source: own.gguf
    licence: MIT
    note: A note.
  - name: elsewhere
    backend: sentence
    tasks: [embed]
    source: hf:o/n
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    return file


def test_models_says_what_is_here_and_what_mends(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "here  (also also)" in out
    assert f"yes, {config.parent / 'own.gguf'}" in out
    assert "no; llm-cortex pull elsewhere" in out
    assert "A note." in out


@pytest.mark.parametrize("order", ["before", "after"])
def test_verify_tells_good_from_missing(config: Path, capsys: pytest.CaptureFixture[str], order: str) -> None:
    flag = ["--config", str(config)]
    argv = ["models", *flag, "verify"] if order == "before" else ["models", "verify", *flag]
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert "here: whole, SHA-256 " in err
    assert "llm-cortex: the weights of elsewhere are not here; get them: llm-cortex pull elsewhere" in err


def test_pull_prints_the_path_alone_on_stdout(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "also", "--config", str(config)]) == 0
    assert capsys.readouterr().out == f"{config.parent / 'own.gguf'}\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["pull"], "name a model, or --all; there are: here, elsewhere"),
        (
            ["pull", "nothing"],
            "there is no model 'nothing' in this configuration (--config); there are: here, elsewhere",
        ),
        (["keys", "revoke", "nobody"], "there is no key named 'nobody'"),
    ],
)
def test_a_mistake_is_one_line(
    config: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main([*argv, "--config", str(config)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"llm-cortex: {message}\n"
    assert captured.out == ""


def test_every_problem_of_the_configuration_is_a_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("server: {portt: 1}\nlimitz: {}\n")
    for argv in (["config", "check"], ["models"], ["serve"]):
        assert main([*argv, "--config", str(config)]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[2] for line in lines] == ["server.portt", "limitz"]


def test_check_reads_the_sources_too(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text().replace("hf:o/n", "hf:o"))
    assert main(["config", "check", "--config", str(config)]) == 1
    assert "source 'hf:o': expected hf:org/name" in capsys.readouterr().err


def test_show_is_a_file_that_can_be_read_again(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--config", str(config)]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown)["server"]["port"] == 8000
    config.write_text(shown)
    assert main(["config", "show", "--config", str(config)]) == 0
    assert capsys.readouterr().out == shown


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert "ServerConfig" in json.loads(capsys.readouterr().out)["$defs"]


def test_a_key_is_shown_once_and_can_be_taken_away(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = ["--config", str(config)]
    assert main(["keys", "create", "laptop", "--scope", "api", *flag]) == 0
    text = capsys.readouterr().out.strip()
    assert text.startswith("sk-cortex-")
    assert main(["keys", "list", *flag]) == 0
    listed = capsys.readouterr().out
    assert listed == "laptop  (api)\n"
    assert text not in (config.parent / "data" / "keys.json").read_text()
    assert main(["keys", "revoke", "laptop", *flag]) == 0
    assert main(["keys", "list", *flag]) == 0
    assert capsys.readouterr().out == ""


def test_a_keys_limits_are_set_and_listed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = ["--config", str(config)]
    limits = ["--highest-priority", "batch", "--max-running", "2", "--max-waiting", "9"]
    assert main(["keys", "create", "crawler", *limits, *flag]) == 0
    capsys.readouterr()
    assert main(["keys", "list", *flag]) == 0
    assert capsys.readouterr().out == (
        "crawler  (api, metrics)  priority: batch  highest_priority: batch  max_waiting: 9  max_running: 2\n"
    )


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["serve", "--port", "70000"], ["serve", "--port", "x"], ["keys"], ["config"]]
)
def test_a_wrong_command_line_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert "usage: llm-cortex" in capsys.readouterr().err


def test_files_beside_a_model_are_pulled_verified_and_shown_with_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = yaml.safe_load(config.read_text())
    tree["models"][0]["parameters"] = {"adapters": [{"name": "a", "source": "a.gguf"}]}
    config.write_text(yaml.safe_dump(tree))
    adapter = config.parent / "a.gguf"
    flags = ["--config", str(config)]
    assert main(["pull", "here", *flags]) == 1
    assert f"there is nothing at {adapter}" in capsys.readouterr().err
    adapter.write_bytes(b"GGUF")
    assert main(["pull", "here", *flags]) == 0
    assert capsys.readouterr().out == f"{config.parent / 'own.gguf'}\n{adapter}\n"
    assert main(["models", "verify", "here", *flags]) == 0
    assert f"here, {adapter}: whole, SHA-256 " in capsys.readouterr().err
    assert main(["models", *flags]) == 0
    assert f"with     {adapter}\n             yes" in capsys.readouterr().out
