"""The CPU's memory under control groups of both versions."""

from pathlib import Path

import psutil

from gateway.engine.host_memory import host_memory

STAT = "anon 5\nactive_file 30\ninactive_file 20\ntotal_active_file 35\ntotal_inactive_file 25\n"


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text)


def test_without_groups_it_is_the_machines(tmp_path: Path) -> None:
    found = host_memory(tmp_path / "none", tmp_path)
    assert found.total_bytes == psutil.virtual_memory().total
    assert 0 < found.available_bytes <= found.total_bytes


def test_a_group_of_version_2_and_those_around_it(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/outer/inner\n")
    group(tmp_path / "outer", max="1000\n", current="300\n", stat=STAT)
    group(tmp_path / "outer/inner", max="max\n", current="200\n", stat=STAT)
    found = host_memory(tmp_path / "cgroup", tmp_path)
    assert (found.total_bytes, found.available_bytes) == (1000, 1000 - (300 - 50)), "cached files are no use"


def test_a_group_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("5:cpu:/x\n4:memory:/job\n0::/\n")
    group(tmp_path / "memory/job", limit_in_bytes="1000\n", usage_in_bytes="300\n", stat=STAT)
    found = host_memory(tmp_path / "cgroup", tmp_path)
    assert (found.total_bytes, found.available_bytes) == (1000, 1000 - (300 - 60))


def test_in_a_container_the_root_is_the_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/docker/abc\n")
    group(tmp_path, max="1000\n", current="2000\n", stat="")
    found = host_memory(tmp_path / "cgroup", tmp_path)
    assert (found.total_bytes, found.available_bytes) == (1000, 0)
