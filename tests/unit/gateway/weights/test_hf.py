"""Which files of a repository are fetched."""

from pathlib import Path

import pytest

from gateway.weights.errors import PullFailed
from gateway.weights.hf import choose, fetch
from gateway.weights.source import HubRepo
from tests.unit.gateway.weights.conftest import FakeHub, Watcher

ENCODER = [
    "README.md",
    "config.json",
    "model.safetensors",
    "onnx/model.onnx",
    "pytorch_model.bin",
    "tokenizer.json",
    "vocab.txt",
    "1_Pooling/config.json",
]
SPLIT = [f"q4-{part:05}-of-00003.gguf" for part in (1, 2, 3)]


def test_a_whole_repository_is_safetensors_and_what_they_need() -> None:
    chosen = choose(ENCODER, HubRepo("o/n"))
    assert chosen[0] == "model.safetensors"
    assert set(ENCODER) - set(chosen) == {"onnx/model.onnx", "pytorch_model.bin"}


def test_one_file_is_that_file() -> None:
    assert choose(["a.gguf", "b.gguf"], HubRepo("o/n", path="b.gguf")) == ["b.gguf"]


@pytest.mark.parametrize("named", SPLIT)
def test_a_split_file_comes_whole_and_its_first_part_is_opened(named: str) -> None:
    assert choose([*SPLIT, "README.md"], HubRepo("o/n", path=named)) == SPLIT


def test_a_split_file_with_a_part_missing() -> None:
    with pytest.raises(PullFailed, match="lacks the part q4-00002-of-00003"):
        choose([SPLIT[0], SPLIT[2]], HubRepo("o/n", path=SPLIT[0]))


def test_a_folder_is_what_is_inside() -> None:
    files = ["a/model.safetensors", "a/config.json", "b/model.safetensors", "config.json"]
    assert choose(files, HubRepo("o/n", path="a")) == ["a/model.safetensors", "a/config.json"]


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        (["a.gguf"], "b.gguf", "has no 'b.gguf'; it has: a.gguf"),
        (["a.gguf", "b.gguf"], "", "several GGUF files; name one: hf:o/n/a.gguf"),
        (["pytorch_model.bin"], "", "no safetensors"),
        (["../model.safetensors"], "", "no safetensors"),
    ],
)
def test_what_cannot_be_chosen(files: list[str], path: str, message: str) -> None:
    with pytest.raises(PullFailed, match=message):
        choose(files, HubRepo("o/n", path=path))


def test_every_file_comes_from_one_commit(tmp_path: Path, watcher: Watcher) -> None:
    hub = FakeHub({"model.safetensors": b"12", "config.json": b"{}"})
    source = HubRepo("o/n", "v2")
    fetched = fetch(source, hub.facts("o/n", "v2"), hub, tmp_path, watcher)
    assert {commit for _, commit, _ in hub.downloads} == {"commit-of-v2"}
    assert (fetched.main, fetched.files) == ("", ["model.safetensors", "config.json"])
    assert (fetched.licence, fetched.revision) == ("apache-2.0", "commit-of-v2")


def test_of_a_pipeline_only_what_is_loaded(tmp_path: Path, watcher: Watcher) -> None:
    index = (
        b'{"_class_name": "P", "unet": ["diffusers", "U"], "safety_checker": ["x", "y"], "vae": [null, null]}'
    )
    files = {
        "model_index.json": index,
        "all_in_one.safetensors": b"1234",
        "unet/config.json": b"{}",
        "unet/diffusion_pytorch_model.safetensors": b"12",
        "unet/diffusion_pytorch_model.fp16.safetensors": b"1",
        "safety_checker/model.safetensors": b"12",
        "vae/diffusion_pytorch_model.safetensors": b"12",
    }
    hub = FakeHub(files)
    fetched = fetch(HubRepo("o/n", "v2"), hub.facts("o/n", "v2"), hub, tmp_path, watcher)
    expected = ["unet/diffusion_pytorch_model.fp16.safetensors", "model_index.json", "unet/config.json"]
    assert (fetched.main, fetched.files) == ("", expected)
    assert {file for _, _, file in hub.downloads} == set(expected)
