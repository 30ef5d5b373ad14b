"""What the commands send to a running server, and what they refuse to send."""

import argparse
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.admin_commands import ServerError, add_model_commands

SHOWN = {"model": "gen", "state": "ready", "version": 2}
SETTINGS = {"note": "text", "parameters": {"n_ctx": 1}}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[httpx.Request]:
    """The requests as httpx would send them."""
    requests: list[httpx.Request] = []

    def request(method: str, url: str, timeout: object, **given: Any) -> httpx.Response:
        requests.append(httpx.Request(method, url, **given))
        return httpx.Response(200, json=SHOWN | {"settings": SETTINGS}, request=requests[-1])

    monkeypatch.setattr(httpx, "request", request)
    return requests


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()

    def add(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about)
        command.set_defaults(run=run, config=None)
        return command

    add_model_commands(add)
    arguments = parser.parse_args([*words, "--url", "http://server"])
    return int(arguments.run(arguments))


@pytest.mark.parametrize(
    ("name", "path"),
    [("gen#x", b"/admin/models/gen%23x"), ("gen?x", b"/admin/models/gen%3Fx"), ("o/n", b"/admin/models/o/n")],
)
def test_the_whole_name_is_sent(sent: list[httpx.Request], name: str, path: bytes) -> None:
    run("remove", name)
    run("swap", name, "note=x")
    assert [request.url.raw_path for request in sent] == [path, path, b"/admin/models/swap"]


def test_one_entry_is_changed_and_the_others_kept(sent: list[httpx.Request]) -> None:
    run("swap", "gen", "parameters.n_batch=2", "parameters.flag=true", "note=é")
    assert sent[-1].headers["content-type"] == "application/json"
    assert '"changes": {"parameters": {"n_ctx": 1, "n_batch": 2, "flag": true}, "note": "é"}' in (
        sent[-1].content.decode()
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("note=2024-13-01", "note: the value is not valid YAML"),
        ("note=2024-12-01", "note: .*date.*quotes"),
        ("idle_ttl_s=.nan", "idle_ttl_s: "),
        ("x=&a [*a]", "x: "),
        ("note.x=1", "note.x: note has no entries"),
    ],
)
def test_what_cannot_be_sent_is_told(sent: list[httpx.Request], setting: str, told: str) -> None:
    with pytest.raises(ServerError, match=told):
        run("swap", "gen", setting)
    assert [request.method for request in sent] == ["GET"]


@pytest.mark.parametrize("text", ["note: 2024-13-01", "note: 2024-12-01", "[" * 1500])
def test_so_is_what_stands_in_a_file(sent: list[httpx.Request], tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(text)
    with pytest.raises(ServerError):
        run("add", str(file))
    assert not sent
