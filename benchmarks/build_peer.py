"""Builds llama-server and llama-batched-bench of the very version that llama-cpp-python has installed.

Takes the sources from llama-cpp-python's own source distribution (pip downloads it into benchmarks/vendor/)
and links them against the installed libraries; see peer/CMakeLists.txt.

usage: python -m benchmarks.build_peer [--jobs N]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import LLAMA_SERVER, installed_libraries

HERE = Path(__file__).parent
VENDOR = HERE / "vendor"
TARGETS = ("llama-server", "llama-batched-bench")


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--jobs", type=int, default=os.cpu_count())
    jobs = arguments.parse_args().jobs
    if shutil.which("cmake") is None:
        sys.exit("cmake is missing: install it (Debian: apt install cmake; any system: pip install cmake)")
    sources = _sources(version("llama-cpp-python"))
    build = VENDOR / "build"
    _run(
        "cmake",
        "-S",
        HERE / "peer",
        "-B",
        build,
        f"-DLLAMA_DIR={sources}",
        f"-DLIB_DIR={installed_libraries()}",
    )
    _run("cmake", "--build", build, "--parallel", jobs, "--target", *TARGETS)
    _run(LLAMA_SERVER, "--version")


def _sources(wanted: str) -> Path:
    """llama.cpp's tree inside the source distribution, downloaded and unpacked where it is missing."""
    tree = VENDOR / f"llama_cpp_python-{wanted}"
    if not (tree / "vendor" / "llama.cpp").is_dir():
        archive = VENDOR / f"{tree.name}.tar.gz"
        if not archive.exists():
            requirement = f"llama-cpp-python=={wanted}"
            _run(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--no-binary",
                ":all:",
                "-d",
                VENDOR,
                requirement,
            )
        with tarfile.open(archive) as packed:
            packed.extractall(VENDOR, filter="data")
    return tree / "vendor" / "llama.cpp"


def _run(*command: object) -> None:
    print("+", *command, flush=True)
    done = subprocess.run([str(part) for part in command], check=False)
    if done.returncode:
        sys.exit(f"failed with code {done.returncode}: {command[0]}")


if __name__ == "__main__":
    main()
