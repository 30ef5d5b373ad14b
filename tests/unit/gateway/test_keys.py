"""Keys: made once, kept as hashes, checked, taken away."""

import stat
from pathlib import Path

import pytest

from gateway.keys import DEFAULT_SCOPES, PREFIX, KeyLimits, KeyRing, KeysError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


def test_no_file_is_an_empty_ring(path: Path) -> None:
    ring = KeyRing.open(path)
    assert not ring
    assert ring.check("anything") is None


def test_a_created_key_is_known_after_reopening(path: Path) -> None:
    text = KeyRing.open(path).create("laptop")
    ring = KeyRing.open(path)
    assert ring
    key = ring.check(text)
    assert key is not None
    assert (key.name, key.scopes) == ("laptop", DEFAULT_SCOPES)
    assert text.startswith(PREFIX)


def test_each_key_is_told_from_the_others(path: Path) -> None:
    ring = KeyRing.open(path)
    texts = {name: ring.create(name, scopes) for name, scopes in {"a": ["api"], "b": ["admin"]}.items()}
    for name, text in texts.items():
        key = ring.check(text)
        assert key is not None
        assert key.name == name
    assert [(key.name, key.scopes) for key in ring.list()] == [("a", {"api"}), ("b", {"admin"})]


def test_a_keys_limits_are_kept(path: Path) -> None:
    limits = KeyLimits("batch", "normal", max_waiting=3, max_running=1)
    text = KeyRing.open(path).create("crawler", limits=limits)
    key = KeyRing.open(path).check(text)
    assert key is not None
    assert key.limits == limits


def test_a_key_without_limits_stands_in_the_file_as_ever(path: Path) -> None:
    KeyRing.open(path).create("laptop")
    assert "limits" not in path.read_text()
    assert KeyRing.open(path).list()[0].limits == KeyLimits()


def test_a_class_above_the_highest_is_no_class_to_begin_with(path: Path) -> None:
    with pytest.raises(KeysError, match="highest"):
        KeyRing.open(path).create("odd", limits=KeyLimits("normal", "batch"))


def test_the_text_is_not_kept(path: Path) -> None:
    text = KeyRing.open(path).create("laptop")
    assert text.removeprefix(PREFIX) not in path.read_text()


def test_the_file_is_the_owners_alone(path: Path) -> None:
    KeyRing.open(path).create("laptop")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize(
    "presented", ["", "sk-cortex-", "x" * 65536, "schlüssel", "\udcff", "\0", "sk-cortex-" + "A" * 43]
)
def test_anything_else_is_no_key(path: Path, presented: str) -> None:
    ring = KeyRing.open(path)
    text = ring.create("laptop")
    assert ring.check(presented) is None
    assert ring.check(text + "x") is None
    assert ring.check(text[:-1]) is None


def test_a_revoked_key_is_unknown(path: Path) -> None:
    ring = KeyRing.open(path)
    text = ring.create("laptop")
    ring.revoke("laptop")
    assert ring.check(text) is None
    assert not KeyRing.open(path)


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("laptop", ["api"], "already"),
        ("", ["api"], "printable"),
        ("a\nb", ["api"], "printable"),
        ("other", ["root"], "unknown scope 'root'"),
    ],
)
def test_what_cannot_be_created(path: Path, name: str, scopes: list[str], message: str) -> None:
    ring = KeyRing.open(path)
    ring.create("laptop")
    with pytest.raises(KeysError, match=message):
        ring.create(name, scopes)
    assert [key.name for key in KeyRing.open(path).list()] == ["laptop"]


def test_revoking_what_is_not_there(path: Path) -> None:
    with pytest.raises(KeysError, match="no key named 'x'"):
        KeyRing.open(path).revoke("x")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"keys": [{"name": "x"}]}', b'{"keyz": []}', b"\xff"])
def test_a_damaged_file_is_refused_and_not_taken_for_empty(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(KeysError, match="is no key file"):
        KeyRing.open(path)


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="directory"):
        KeyRing.open(tmp_path)
