"""API keys: who may call, kept as hashes in one file.

Owns the key file and the check of a presented key. Must not know HTTP; gateway.http.auth decides which
scope a route needs.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from gateway.engine.priorities import LEVELS, PriorityClass

PREFIX = "sk-cortex-"
DEFAULT_SCOPES = frozenset({"api", "metrics"})
SCOPES = DEFAULT_SCOPES | {"admin"}
_RANDOM_BYTES = 32
_LONGEST_KEY = 512


class KeysError(Exception):
    """The key file cannot be used or the change cannot be made; the message is for the user."""


class KeyLimits(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a key may have. None: what `limits` of the configuration says, or no bound."""

    priority: PriorityClass = "normal"
    """Class of its requests that ask for none."""
    highest_priority: PriorityClass = "interactive"
    """The first class that its requests may ask for."""
    max_waiting: Annotated[int, Meta(ge=1)] | None = None
    """Jobs that may wait for one model; one more is a 429."""
    max_running: Annotated[int, Meta(ge=1)] | None = None
    """Jobs with workers at once; more wait, and hold up nobody else."""


USUAL = KeyLimits()


class Key(Struct, frozen=True):
    """One caller, as the rest of the gateway knows it."""

    name: str
    scopes: frozenset[str]
    limits: KeyLimits = USUAL


ANYONE = Key("", frozenset())
"""Who calls where there are no keys."""


class _StoredKey(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    sha256: str
    scopes: list[str] = field(default_factory=list)
    limits: KeyLimits = USUAL

    def key(self) -> Key:
        return Key(self.name, frozenset(self.scopes), self.limits)


class _KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[_StoredKey] = field(default_factory=list)


class KeyRing:
    """The keys of one file. False while there are none."""

    def __init__(self, path: Path, stored: list[_StoredKey]) -> None:
        self._path = path
        self._stored = stored

    @classmethod
    def open(cls, path: Path) -> "KeyRing":
        """The keys in `path`; none if there is no such file. Raises KeysError if it cannot be read."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return cls(path, [])
        except OSError as error:
            raise KeysError(f"{path}: {error.strerror}") from None
        try:
            return cls(path, list(msgspec.json.decode(content, type=_KeyFile).keys))
        except msgspec.DecodeError as error:
            raise KeysError(f"{path}: is no key file: {error}") from None

    def __bool__(self) -> bool:
        return bool(self._stored)

    def check(self, presented: str) -> Key | None:
        """The key that `presented` is. Takes as long for a wrong key as for a right one.

        A plain SHA-256 is enough: keys hold 256 random bits, so there is nothing to guess.
        """
        if len(presented) > _LONGEST_KEY:
            return None
        digest = _hash(presented)
        found = None
        for stored in self._stored:
            if hmac.compare_digest(stored.sha256, digest):
                found = stored
        return found.key() if found else None

    def list(self) -> "Sequence[Key]":
        return [stored.key() for stored in self._stored]

    def create(self, name: str, scopes: Iterable[str] = DEFAULT_SCOPES, limits: KeyLimits = USUAL) -> str:
        """Add a key and give back its text, which is kept nowhere. Raises KeysError."""
        wanted = sorted(set(scopes))
        if not name or not name.isprintable():
            raise KeysError("a key needs a printable name")
        if unknown := set(wanted) - SCOPES:
            raise KeysError(f"unknown scope {sorted(unknown)[0]!r}; known: {', '.join(sorted(SCOPES))}")
        if any(stored.name == name for stored in self._stored):
            raise KeysError(f"there is a key named {name!r} already")
        if LEVELS[limits.priority] > LEVELS[limits.highest_priority]:
            raise KeysError(f"its priority {limits.priority} is above {limits.highest_priority}, its highest")
        text = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        self._save([*self._stored, _StoredKey(name, _hash(text), wanted, limits)])
        return text

    def revoke(self, name: str) -> None:
        """Remove a key. Raises KeysError if there is none of this name."""
        kept = [stored for stored in self._stored if stored.name != name]
        if len(kept) == len(self._stored):
            raise KeysError(f"there is no key named {name!r}")
        self._save(kept)

    def _save(self, stored: "Sequence[_StoredKey]") -> None:
        """Replace the file in one step, readable by its owner alone."""
        body = msgspec.json.format(msgspec.json.encode(_KeyFile([*stored])), indent=2)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".keys-")  # mode 0600
        except OSError as error:
            raise KeysError(f"{self._path}: {error.strerror}") from None
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(body + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise KeysError(f"{self._path}: {error.strerror}") from None
        self._stored = [*stored]


def _hash(text: str) -> str:
    # A header may carry anything; surrogates that came from undecodable bytes must not raise.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
