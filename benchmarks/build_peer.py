"""Builds the peers of the very version that llama-cpp-python has installed, on its very libraries.

llama-server and llama-batched-bench: from llama-cpp-python's own source distribution (pip downloads it into
benchmarks/vendor/), linked against the installed libraries; see peer/CMakeLists.txt. Its two Python servers:
a virtual environment with their packages, in which llama_cpp is a link to the installed one.

usage: python -m benchmarks.build_peer [--jobs N]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers import LLAMA_SERVER, PYTHON_SERVERS, VENDOR, installed_libraries

HERE = Path(__file__).parent
TARGETS = ("llama-server", "llama-batched-bench")
SERVER_PACKAGES = [
    *("fastapi", "uvicorn", "pydantic-settings", "sse-starlette", "starlette-context<0.4", "PyYAML"),
    *("numpy", "jinja2", "diskcache", "typing-extensions", "openai", "safetensors", "websockets"),
]


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
    _python_servers()


def _python_servers() -> None:
    """One environment serves both; the packages are what the `server` extra and the example's header name."""
    if not PYTHON_SERVERS.exists():
        venv.create(PYTHON_SERVERS.parents[1], with_pip=True)
    _run(PYTHON_SERVERS, "-m", "pip", "install", "--quiet", *SERVER_PACKAGES)
    package = installed_libraries().parent
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([PYTHON_SERVERS, "-c", where], text=True).strip())
    link = site / package.name
    if not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(package, target_is_directory=True)
    _run(PYTHON_SERVERS, "-c", "import llama_cpp.server.app")


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
                "llama-cpp-python",  # not :all:, which would build CMake itself from source
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
