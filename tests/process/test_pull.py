"""`llm-cortex pull` as a user runs it, over real HTTP to a hub on this machine."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.hub_server import HubServer

SMALL = random.Random(1).randbytes(100_000)
LARGE = random.Random(2).randbytes(5_000_000)
TIMEOUT_S = 60


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer(
        {"small.gguf": SMALL, "large.gguf": LARGE, "README.md": b"text"}, licence="cc-by-nc-4.0"
    )
    yield server
    server.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = "".join(
        f"  - {{name: {name}, backend: llama_cpp, tasks: [generate], source: 'hf:org/name/{name}.gguf'}}\n"
        for name in ("small", "large", "absent")
    )
    (tmp_path / "config.yaml").write_text(f"paths: {{cache_dir: cache}}\nmodels:\n{models}")
    return tmp_path


PIPELINE = {
    "model_index.json": b'{"unet": ["diffusers", "UNet2DConditionModel"], "scheduler": ["diffusers", "S"]}',
    "scheduler/scheduler_config.json": b"{}",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.fp16.safetensors": SMALL,
    "unet/diffusion_pytorch_model.safetensors": LARGE,
    "unet/diffusion_pytorch_model.bin": LARGE,
    "everything.safetensors": LARGE,
}
FETCHED = {
    *("model_index.json", "scheduler/scheduler_config.json", "unet/config.json"),
    "unet/diffusion_pytorch_model.fp16.safetensors",
}


def start_pull(folder: Path, hub: HubServer, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "gateway", "pull", *arguments, "--config", str(folder / "config.yaml")],
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HOME": str(folder / "hf")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pull(folder: Path, hub: HubServer, *arguments: str) -> tuple[int, str, str]:
    process = start_pull(folder, hub, *arguments)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, out, err


def test_a_file_of_the_hub_and_then_no_network(folder: Path, hub: HubServer) -> None:
    status, out, err = pull(folder, hub, "small", "--accept-license")
    assert status == 0, err
    assert "licence: cc-by-nc-4.0" in err
    assert Path(out.strip()).read_bytes() == SMALL
    assert "Bearer hf_test" in hub.tokens
    asked = hub.requests
    assert pull(folder, hub, "small")[:2] == (0, out)
    assert hub.requests == asked


def test_a_pipeline_comes_without_what_is_not_loaded(tmp_path: Path) -> None:
    models = "{name: painter, backend: diffusion, tasks: [paint], source: 'hf:org/name'}"
    (tmp_path / "config.yaml").write_text(f"paths: {{cache_dir: cache}}\nmodels: [{models}]\n")
    hub = HubServer(PIPELINE, licence="sai-nc-community")
    try:
        status, _, err = pull(tmp_path, hub, "painter")
        assert status == 1
        assert "sai-nc-community) forbids commercial use" in err
        status, out, err = pull(tmp_path, hub, "painter", "--accept-license")
        assert status == 0, err
    finally:
        hub.stop()
    folder = Path(out.strip())
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == FETCHED


def test_a_killed_pull_goes_on_where_it_was(folder: Path, hub: HubServer) -> None:
    hub.stall_after = 3_000_000
    process = start_pull(folder, hub, "large", "--accept-license")
    assert hub.stalled.wait(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while sum(part.stat().st_size for part in (folder / "cache").rglob("*.part")) < 2_000_000:
        assert time.monotonic() < deadline, "nothing is written while the download runs"
    process.kill()
    process.communicate()
    status, out, err = pull(folder, hub, "large", "--accept-license")
    assert status == 0, err
    assert Path(out.strip()).read_bytes() == LARGE
    (wanted,) = hub.ranges
    assert 2_000_000 <= int(wanted.removeprefix("bytes=").rstrip("-")) <= 3_000_000


def test_a_broken_line_is_taken_up_again(folder: Path, hub: HubServer) -> None:
    hub.cut_after = 3_000_000
    status, out, err = pull(folder, hub, "large", "--accept-license")
    assert status == 0, err
    assert Path(out.strip()).read_bytes() == LARGE
    assert len(hub.ranges) == 1


def test_a_licence_that_nobody_accepted(folder: Path, hub: HubServer) -> None:
    status, out, err = pull(folder, hub, "small")
    assert (status, out.strip()) == (1, "")
    assert err.strip().endswith("if that suits you: llm-cortex pull small --accept-license")


def test_what_the_hub_does_not_have_is_one_line(folder: Path, hub: HubServer) -> None:
    status, _, err = pull(folder, hub, "absent", "--accept-license")
    assert status == 1
    assert err.strip() == "llm-cortex: hf:org/name has no 'absent.gguf'; it has: large.gguf, small.gguf"


def test_a_hub_that_is_not_there_is_one_line(folder: Path, hub: HubServer) -> None:
    hub.stop()
    status, _, err = pull(folder, hub, "small", "--accept-license")
    assert status == 1
    assert err.strip() == "llm-cortex: hf:org/name: the hub cannot be reached: [Errno 111] Connection refused"
