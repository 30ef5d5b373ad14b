"""For which accelerator llama.cpp is built."""

import pytest

from backends.llama_cpp.accelerator import CHOICES, Machine, choose


@pytest.mark.parametrize(
    ("machine", "accelerator", "reason"),
    [
        (Machine("Linux"), "cpu", "no GPU was found"),
        (Machine("Linux", nvidia_gpu=True, nvcc=True), "cuda", "CUDA"),
        (Machine("Linux", nvidia_gpu=True), "cpu", "no nvcc"),
        (Machine("Linux", nvcc=True), "cpu", "no NVIDIA GPU"),
        (Machine("Linux", render_device=True, vulkan_tools=True), "vulkan", "Vulkan"),
        (Machine("Linux", render_device=True), "cpu", "with glslc"),
        (Machine("Linux", vulkan_tools=True), "cpu", "no GPU was found"),
        (Machine("Linux", nvidia_gpu=True, render_device=True, vulkan_tools=True), "cpu", "no nvcc"),
        (Machine("Darwin", arm=True), "metal", "Metal"),
        (Machine("Darwin"), "cpu", "no GPU was found"),
        (Machine("Linux", arm=True), "cpu", "no GPU was found"),
    ],
)
def test_the_machine_decides(machine: Machine, accelerator: str, reason: str) -> None:
    choice = choose(machine)
    assert choice.accelerator == accelerator
    assert reason in choice.reason


def test_a_wish_wins_and_every_wish_has_its_arguments() -> None:
    found = {wanted: choose(Machine("Linux"), wanted).cmake_args for wanted in CHOICES}
    assert found == {
        "auto": "",
        "cpu": "",
        "cuda": "-DGGML_CUDA=ON",
        "metal": "-DGGML_METAL=ON",
        "vulkan": "-DGGML_VULKAN=ON",
    }


@pytest.mark.parametrize("wanted", CHOICES)
def test_every_build_leaves_out_amx_where_the_processor_has_it(wanted: str) -> None:
    plain, beside = choose(Machine("Linux"), wanted), choose(Machine("Linux", amx=True), wanted)
    assert beside.accelerator == plain.accelerator
    assert beside.cmake_args.startswith(plain.cmake_args)
    assert "-DCMAKE_CXX_FLAGS=-mno-amx-int8" in beside.cmake_args.split()
    assert "amx" not in plain.cmake_args


def test_an_unknown_wish() -> None:
    with pytest.raises(ValueError, match="ACCELERATOR=tpu: expected one of auto, cpu"):
        choose(Machine("Linux"), "tpu")
