"""The spool folder: private, gone at the end, and those of dead gateways gone at the next start."""

import os
import stat
from pathlib import Path

from gateway.spool import Spool


def test_it_is_private_and_goes_with_all_that_is_in_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "deep" / "er")
    assert stat.S_IMODE(spool.folder.stat().st_mode) == 0o700
    (spool.folder / "worker").mkdir()
    (spool.folder / "worker" / "file").write_bytes(b"x")
    spool.close()
    assert list((tmp_path / "deep" / "er").iterdir()) == []


DEAD = 2**30  # no system gives so large a process id


def test_what_the_dead_have_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    living = Spool(tmp_path)
    dead = tmp_path / f"llm-cortex-{DEAD}-abc"
    (dead / "worker").mkdir(parents=True)
    (dead / "upload-x").write_bytes(b"x")
    kept = [tmp_path / name for name in (f"llm-cortex-{os.getppid()}-abc", "llm-cortex-x", "other")]
    for folder in kept:
        folder.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / f"llm-cortex-{DEAD}-link").symlink_to(target)
    second = Spool(tmp_path)
    assert not dead.exists()
    assert target.exists()
    assert living.folder.exists()  # it is locked, though its pid says that it could be left over
    assert all(folder.exists() for folder in kept)
    living.close()
    second.close()


def test_a_gateway_that_had_the_same_pid_is_dead(tmp_path: Path) -> None:
    left = tmp_path / f"llm-cortex-{os.getpid()}-abc"
    left.mkdir()
    Spool(tmp_path).close()
    assert not left.exists()
