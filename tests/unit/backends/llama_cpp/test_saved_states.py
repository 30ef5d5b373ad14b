"""Saved states: found by exact tokens, kept within bounds, and never loaded from a file that is not whole."""

import os
import stat
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.model import TokenArray
from backends.llama_cpp.prefixes import common_prefix
from backends.llama_cpp.saved_states import SavedStates
from backends.llama_cpp.state_files import StateFolder, state_name

FLUSH_S = 60.0
OVERHEAD = 80
"""About what a short state's header and checksum take in a file."""


def ids(*tokens: int) -> TokenArray:
    return np.array(tokens, dtype=np.int32)


def clock() -> Callable[[], int]:
    """Times of the past, one nanosecond apart, so that the order of use is known."""
    ticks = count(1_000_000)
    return lambda: next(ticks)


def states(folder: Path | None, *, host: int = 0, disk: int = 1 << 20, fingerprint: str = "m") -> SavedStates:
    return SavedStates(
        host_bytes=host, disk=folder, disk_bytes=disk, fingerprint=fingerprint, clock_ns=clock()
    )


def held(store: SavedStates, tokens: TokenArray, key: str = "") -> bytes | None:
    """The data of the state of exactly these tokens."""
    saved = store.best(key, tokens, len(tokens) - 1)
    if saved is None or len(saved.tokens) != len(tokens):
        return None
    data = store.read(saved)
    return None if data is None else bytes(data)


def state_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.state"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "states"


@pytest.fixture
def memory() -> Iterator[SavedStates]:
    store = states(None, host=100)
    yield store
    store.close()


# --- finding ----------------------------------------------------------------------------------------------


def test_the_longest_common_prefix_is_found(memory: SavedStates) -> None:
    memory.put("", ids(1, 2, 3, 4), b"four")
    memory.put("", ids(1, 2, 9), b"three")
    saved = memory.best("", ids(1, 2, 3, 5, 6), better_than=0)
    assert saved is not None
    assert (saved.common, saved.tokens.tolist(), saved.size_bytes) == (3, [1, 2, 3, 4], 4)
    assert memory.read(saved) == b"four"


def test_only_what_is_better_than_the_asked_is_found(memory: SavedStates) -> None:
    memory.put("", ids(1, 2, 3), b"x")
    assert memory.best("", ids(1, 2, 3, 4), better_than=3) is None
    assert memory.best("", ids(1, 2, 3, 4), better_than=2) is not None
    assert memory.best("", ids(7, 2, 3), better_than=0) is None


def test_keys_are_separate(memory: SavedStates) -> None:
    memory.put("a=1.0", ids(1, 2), b"with")
    assert memory.best("", ids(1, 2), 0) is None
    assert held(memory, ids(1, 2), "a=1.0") == b"with"


def test_of_equals_the_smallest_is_found(memory: SavedStates) -> None:
    memory.put("", ids(1, 2, 3, 4, 5), b"x" * 50)
    memory.put("", ids(1, 2, 6), b"x" * 3)
    memory.put("", ids(1, 2, 7, 8), b"x" * 40)
    saved = memory.best("", ids(1, 2, 9), 0)
    assert saved is not None
    assert (saved.common, saved.size_bytes) == (2, 3)


def test_of_equals_the_one_in_memory_is_found(folder: Path) -> None:
    store = states(folder, host=6)
    store.put("", ids(1, 2, 3), b"disk")
    store.put("", ids(1, 2, 4), b"memory")
    assert store.flush(FLUSH_S)
    saved = store.best("", ids(1, 2, 5), 0)
    assert saved is not None
    assert saved.in_memory
    assert saved.size_bytes == 6
    store.close()


token_lists = st.lists(st.integers(0, 2), min_size=1, max_size=8)


@settings(max_examples=200)
@given(known=st.lists(token_lists, max_size=8), asked=token_lists, better_than=st.integers(0, 8))
def test_a_find_is_what_comparing_everything_finds(
    known: list[list[int]], asked: list[int], better_than: int
) -> None:
    def common(tokens: list[int]) -> int:
        return next(
            (i for i, (a, b) in enumerate(zip(tokens, asked, strict=False)) if a != b),
            min(len(tokens), len(asked)),
        )

    store = states(None, host=1 << 20)
    for tokens in known:
        store.put("", ids(*tokens), bytes(tokens))
    best = max(map(common, known), default=0)
    saved = store.best("", ids(*asked), better_than)
    if best <= better_than:
        assert saved is None
    else:
        assert saved is not None
        assert saved.common == best == common_prefix(saved.tokens, ids(*asked))
        assert store.read(saved) == bytes(saved.tokens.tolist())


# --- memory -----------------------------------------------------------------------------------------------


def test_a_longer_state_replaces_its_beginnings(memory: SavedStates) -> None:
    memory.put("", ids(1, 2), b"aa")
    memory.put("", ids(1, 2, 3), b"bbb")
    memory.put("", ids(1, 5), b"c")
    assert memory.host_used == 4
    assert held(memory, ids(1, 2)) is None


def test_a_state_that_memory_holds_more_of_is_not_taken(memory: SavedStates) -> None:
    memory.put("", ids(1, 2, 3), b"bbb")
    memory.put("", ids(1, 2), b"aa")
    memory.put("", ids(1, 2, 3), b"zzz")
    assert memory.host_used == 3
    assert held(memory, ids(1, 2, 3)) == b"bbb"


def test_the_least_recently_used_leaves_first(memory: SavedStates) -> None:
    for token in (1, 2, 3):
        memory.put("", ids(token), b"x" * 30)
    assert held(memory, ids(1)) is not None
    memory.put("", ids(4), b"x" * 30)
    assert held(memory, ids(2)) is None
    assert all(held(memory, ids(token)) for token in (1, 3, 4))
    assert memory.host_used == 90


def test_a_state_over_the_bound_is_not_taken_and_costs_nobody_a_place(memory: SavedStates) -> None:
    memory.put("", ids(1), b"x" * 60)
    memory.put("", ids(1, 2), b"x" * 101)
    memory.put("", ids(), b"")
    assert held(memory, ids(1)) == b"x" * 60
    assert memory.best("", ids(1, 2), 1) is None


def test_the_callers_array_may_change_afterwards(memory: SavedStates) -> None:
    tokens = ids(1, 2, 3)
    memory.put("", tokens, b"x")
    tokens[:] = 7
    assert held(memory, ids(1, 2, 3)) == b"x"


@settings(max_examples=50)
@given(st.lists(st.tuples(token_lists, st.integers(0, 40)), max_size=30))
def test_the_bound_of_memory_holds(puts: list[tuple[list[int], int]]) -> None:
    store = states(None, host=100)
    for tokens, size in puts:
        store.put("", ids(*tokens), b"x" * size)
        assert store.host_used <= 100
        saved = store.best("", ids(*tokens), len(tokens) - 1)
        assert saved is not None


# --- disk -------------------------------------------------------------------------------------------------


def test_what_leaves_memory_is_found_on_disk(folder: Path) -> None:
    store = states(folder, host=10)
    store.put("k", ids(1, 2), b"x" * 8)
    store.put("k", ids(3, 4), b"y" * 8)
    assert store.flush(FLUSH_S)
    assert store.host_used == 8
    saved = store.best("k", ids(1, 2, 3), 0)
    assert saved is not None
    assert not saved.in_memory
    data = store.read(saved)
    assert data is not None
    assert bytes(data) == b"x" * 8
    assert store.best("k", ids(1, 2), 0).in_memory  # type: ignore[union-attr]  # read: back in memory
    assert store.flush(FLUSH_S)
    assert held(store, ids(3, 4), "k") == b"y" * 8
    store.close()


def test_states_outlive_a_restart(folder: Path) -> None:
    before = states(folder, host=100)
    for token in range(3):
        before.put("k", ids(token, 7), bytes([token]) * 20)
    before.close(FLUSH_S)
    after = states(folder, host=100)
    assert [held(after, ids(token, 7), "k") for token in range(3)] == [bytes([t]) * 20 for t in range(3)]
    after.close()


def test_files_are_for_this_user_alone(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    store = states(folder)
    store.put("", ids(1), b"x")
    assert store.flush(FLUSH_S)
    (file,) = state_files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(folder.glob("*.partial"))
    store.close()


def test_a_state_replaced_by_a_longer_one_leaves_the_disk(folder: Path) -> None:
    store = states(folder)
    store.put("", ids(1), b"x")
    assert store.flush(FLUSH_S)
    store.put("", ids(1, 2), b"xy")
    assert store.flush(FLUSH_S)
    assert store.flush(FLUSH_S)
    assert len(state_files(folder)) == 1
    assert held(store, ids(1, 2)) == b"xy"
    store.close()


def test_another_models_states_are_not_found(folder: Path) -> None:
    store = states(folder)
    store.put("", ids(1), b"x")
    store.close(FLUSH_S)
    other = states(folder, fingerprint="n")
    assert other.best("", ids(1), 0) is None
    assert other.disk_used > 0
    other.close()


def _flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _extend(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def _link(file: Path) -> None:
    elsewhere = file.with_name("elsewhere")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


DAMAGE: list[Callable[[Path], None]] = [
    lambda file: _flip(file, 0),
    lambda file: _flip(file, 8),
    lambda file: _flip(file, 20),
    lambda file: _flip(file, -40),
    lambda file: _flip(file, -1),
    _cut,
    _extend,
    _link,
    _pipe,
    Path.unlink,
    lambda file: file.write_bytes(b""),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("restart", [True, False])
def test_a_damaged_file_is_never_loaded(folder: Path, damage: Callable[[Path], None], restart: bool) -> None:
    store = states(folder)
    store.put("", ids(5, 6, 7), b"secret" * 10)
    assert store.flush(FLUSH_S)
    damage(state_files(folder)[0])
    if restart:
        store.close(FLUSH_S)
        store = states(folder)
    assert held(store, ids(5, 6, 7)) is None
    assert store.best("", ids(5, 6, 7), 0) is None
    store.put("", ids(5, 6, 7), b"again")
    store.put("", ids(8), b"")
    assert store.flush(FLUSH_S)
    assert held(store, ids(5, 6, 7)) == b"again"
    store.close()


def test_a_whole_file_of_other_tokens_is_not_taken_for_them(folder: Path) -> None:
    store = states(folder)
    store.put("", ids(1), b"one")
    store.put("", ids(2), b"two")
    assert store.flush(FLUSH_S)
    one, two = (folder / state_name("m", "", ids(token)) for token in (1, 2))
    one.write_bytes(two.read_bytes())
    assert held(store, ids(1)) is None
    assert held(store, ids(2)) == b"two"
    store.close()


def test_the_bound_of_the_disk_holds_over_restarts_and_models(folder: Path) -> None:
    bound = 3 * (100 + OVERHEAD)
    for fingerprint in ("a", "b", "c"):
        store = states(folder, disk=bound, fingerprint=fingerprint)
        for token in range(4):
            store.put("", ids(token), b"x" * 100)
            assert store.flush(FLUSH_S)
            used = sum(file.stat().st_size for file in state_files(folder))
            assert used == store.disk_used <= bound
        assert held(store, ids(3)) is not None
        store.close()


def test_a_state_over_the_disks_bound_is_not_taken(folder: Path) -> None:
    store = states(folder, disk=1000)
    store.put("", ids(1), b"x" * 999)
    assert store.flush(FLUSH_S)
    assert store.best("", ids(1), 0) is None
    assert state_files(folder) == []
    store.close()


def test_at_the_end_the_most_recently_used_get_the_room(folder: Path) -> None:
    store = states(folder, host=10_000, disk=2 * (100 + OVERHEAD))
    for token in range(5):
        store.put("", ids(token), b"x" * 100)
    assert held(store, ids(0)) is not None
    store.close(FLUSH_S)
    after = states(folder)
    assert [token for token in range(5) if held(after, ids(token))] == [0, 4]
    after.close()


def test_two_workers_share_a_folder(folder: Path) -> None:
    one, two = states(folder), states(folder)
    one.put("", ids(1), b"one")
    assert one.flush(FLUSH_S)
    two.put("", ids(2), b"two")
    assert two.flush(FLUSH_S)
    assert held(two, ids(1)) == b"one"
    for file in state_files(folder):
        file.unlink()
    two.put("", ids(3), b"three")
    assert two.flush(FLUSH_S)
    assert held(two, ids(1)) is None
    assert held(one, ids(1)) is None
    assert held(two, ids(3)) == b"three"
    one.close()
    two.close()


def test_a_dead_workers_partial_file_is_removed(folder: Path) -> None:
    folder.mkdir()
    (folder / ("0" * 32 + ".partial")).write_bytes(b"x" * 500)
    (folder / "mine.txt").write_text("not a state")
    store = states(folder)
    store.put("", ids(1), b"x")
    assert store.flush(FLUSH_S)
    assert not list(folder.glob("*.partial"))
    assert (folder / "mine.txt").exists()
    store.close()


def test_a_file_from_the_future_does_not_stay_for_ever(folder: Path) -> None:
    store = states(folder, disk=100 + OVERHEAD)
    store.put("", ids(1), b"x" * 100)
    assert store.flush(FLUSH_S)
    os.utime(state_files(folder)[0], (1 << 40, 1 << 40))
    store.put("", ids(2), b"y" * 100)
    assert store.flush(FLUSH_S)
    assert held(store, ids(2)) == b"y" * 100
    store.close()


# --- when the disk does not play along --------------------------------------------------------------------


def test_a_folder_that_is_none_costs_only_the_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.write_text("")
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for path in (file, link, file / "below"):
        store = states(path, host=10)
        store.put("", ids(1), b"x")
        assert held(store, ids(1)) == b"x"
        assert store.flush(FLUSH_S)
        store.close()
    assert len(caplog.records) == 3


def test_a_write_that_fails_costs_only_that_state(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = states(folder)
    (folder / "lock").mkdir()  # opening it for writing fails, as everything does on a read-only disk
    store.put("", ids(1), b"x")
    store.put("", ids(2), b"x")
    assert store.flush(FLUSH_S)
    assert store.host_used == 0
    assert held(store, ids(1)) is None
    assert len(caplog.records) == 1  # one line for a pause, not one a state
    assert "[1]" not in caplog.text
    store.close()


def test_a_lock_that_another_worker_holds_is_not_waited_for_without_end(folder: Path) -> None:
    one = StateFolder(folder, max_bytes=1000, fingerprint="m", lock_s=0.0)
    two = StateFolder(folder, max_bytes=1000, fingerprint="m", lock_s=0.0)
    with one._lock(), pytest.raises(TimeoutError):
        two.write(state_name("m", "", ids(1)), "", ids(1), b"x", 1)
    assert two.write(state_name("m", "", ids(1)), "", ids(1), b"x", 1)
    one.close()
    two.close()


def test_what_waits_for_a_slow_disk_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.llama_cpp.saved_states._WAITING_BYTES", 64_000)
    store = states(folder, disk=1 << 30)
    other = StateFolder(folder, max_bytes=1, fingerprint="other")
    with other._lock():  # nobody else can write
        for token in range(4):
            store.put("", ids(token), bytes(30_000))
        assert store.host_used == 60_000
    assert store.flush(FLUSH_S)
    assert store.host_used == 0
    assert [held(store, ids(token)) is not None for token in range(4)] == [True, True, False, False]
    store.close()
    other.close()
