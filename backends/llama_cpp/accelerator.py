"""Decides for which accelerator llama.cpp is built on this machine, before anything is installed.

Owns the detection; `make run` calls it with the bare interpreter, so only the standard library may be used.
Prints the CMake arguments on the first line (empty: the plain CPU build) and the reason on the second.
"""

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CHOICES = ("auto", "cpu", "cuda", "metal", "vulkan")
_CMAKE = {
    "cpu": "",
    "cuda": "-DGGML_CUDA=ON",
    "metal": "-DGGML_METAL=ON",
    "vulkan": "-DGGML_VULKAN=ON",
}

_WITHOUT_AMX = "-DCMAKE_C_FLAGS=-mno-amx-int8 -DCMAKE_CXX_FLAGS=-mno-amx-int8"
"""llama.cpp writes the tiles' shape where GCC sees no reader and so leaves it out (GCC 12 seen), so that
the first token ends the process: https://github.com/ggml-org/llama.cpp/pull/26954."""


class Machine(NamedTuple):
    """What was found."""

    system: str
    arm: bool = False
    nvidia_gpu: bool = False
    nvcc: bool = False
    render_device: bool = False
    """A graphics device that Vulkan could use."""
    vulkan_tools: bool = False
    """glslc and the Vulkan headers."""
    amx: bool = False
    """The processor has Intel's matrix extension, which a build for it would use."""


class Choice(NamedTuple):
    accelerator: str
    reason: str
    amx: bool = False

    @property
    def cmake_args(self) -> str:
        return " ".join(filter(None, (_CMAKE[self.accelerator], _WITHOUT_AMX if self.amx else "")))


def choose(machine: Machine, wanted: str = "auto") -> Choice:
    """The build for this machine. Raises ValueError for an unknown wish."""
    return _choose(machine, wanted)._replace(amx=machine.amx)


def _choose(machine: Machine, wanted: str) -> Choice:
    if wanted not in CHOICES:
        raise ValueError(f"ACCELERATOR={wanted}: expected one of {', '.join(CHOICES)}")
    if wanted != "auto":
        return Choice(wanted, f"built for {wanted}, as asked")
    if machine.system == "Darwin" and machine.arm:
        return Choice("metal", "built for Metal")
    if machine.nvidia_gpu and machine.nvcc:
        return Choice("cuda", "built for CUDA: an NVIDIA GPU and nvcc are here")
    if machine.render_device and machine.vulkan_tools and not machine.nvidia_gpu:
        return Choice("vulkan", "built for Vulkan: a graphics device, glslc and the Vulkan headers are here")
    return Choice("cpu", f"built for the CPU: {_why_not(machine)}")


def _why_not(machine: Machine) -> str:
    if machine.nvidia_gpu:
        return "an NVIDIA GPU is here but no nvcc; install the CUDA toolkit, then `make rebuild-llama`"
    if machine.render_device:
        return "a graphics device is here; with glslc and the Vulkan headers: `make rebuild-llama`"
    if machine.nvcc:
        return "nvcc is here but no NVIDIA GPU"
    return "no GPU was found"


def look(vulkan_sdk: str = "") -> Machine:
    return Machine(
        system=platform.system(),
        arm=platform.machine() in ("arm64", "aarch64"),
        nvidia_gpu=_has_nvidia_gpu(),
        nvcc=shutil.which("nvcc") is not None,
        render_device=any(Path("/dev/dri").glob("renderD*")),
        vulkan_tools=shutil.which("glslc") is not None and _has_vulkan_headers(vulkan_sdk),
        amx=_has_amx(),
    )


def _has_amx() -> bool:
    try:
        return " amx_int8" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


def _has_nvidia_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return any(Path("/proc/driver/nvidia/gpus").glob("*"))
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "GPU " in done.stdout


def _has_vulkan_headers(sdk: str) -> bool:
    roots = ["/usr", "/usr/local", "/opt/homebrew", *([sdk] if sdk else [])]
    return any(Path(root, "include/vulkan/vulkan.h").exists() for root in roots)


def main(wanted: str = "auto", vulkan_sdk: str = "") -> int:
    try:
        choice = choose(look(vulkan_sdk), wanted)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(choice.cmake_args)
    print(f"llama.cpp: {choice.reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
