"""Talks to the Hugging Face hub over HTTP.

Owns requests, retries and going on with a file that an earlier try left half done, even one of a process
that was killed: huggingface_hub's own download begins each file anew, and only its notion of the endpoint
(HF_ENDPOINT) and of the token (HF_TOKEN or its login) is used. Must import clients inside functions: the
server imports this module and never calls it.

Routes: GET /api/models/{repo}/revision/{revision}?blobs=true and /{repo}/resolve/{commit}/{file}.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from gateway.weights.errors import PullFailed
from gateway.weights.hf import RepoFacts
from gateway.weights.progress import Progress

if TYPE_CHECKING:
    import httpx

TRIES = 5
"""In a row without a byte; then the pull fails, and the next one goes on."""
PAUSE_S = 1.0
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1024 * 1024
T = TypeVar("T")
_OK, _PARTIAL, _OUT_OF_RANGE, _TOO_MANY, _SERVER_ERRORS = 200, 206, 416, 429, 500


class _Lfs(Struct, frozen=True):
    sha256: str | None = None


class _Sibling(Struct, frozen=True):
    rfilename: str
    size: int | None = None
    lfs: _Lfs | None = None


class _Card(Struct, frozen=True):
    license: Any = None
    license_name: str | None = None


class _ModelInfo(Struct, frozen=True, rename={"card": "cardData"}):
    sha: str
    siblings: list[_Sibling] = field(default_factory=list)
    card: _Card | None = None


class _Unsteady(Exception):
    """Worth another try: the line, or a server that asks for patience."""


class HuggingFaceHub:
    def facts(self, repo: str, revision: str) -> RepoFacts:
        """Raises PullFailed."""
        path = f"/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
        with _client() as client:
            response = _steadily(repo, lambda: _checked(repo, client.get(path)))
        try:
            info = msgspec.json.decode(response.content, type=_ModelInfo)
        except msgspec.DecodeError as error:
            raise PullFailed(f"hf:{repo}: the hub's answer makes no sense: {error}") from None
        card = info.card or _Card()
        licence = card.license_name or card.license
        return RepoFacts(
            commit=info.sha,
            licence=str(licence) if licence else None,
            files={file.rfilename: file.size or 0 for file in info.siblings},
            sha256={
                file.rfilename: file.lfs.sha256 for file in info.siblings if file.lfs and file.lfs.sha256
            },
        )

    def download(self, repo: str, commit: str, file: str, into: Path, progress: Progress) -> None:
        """Put `file` below `into`; `file`.part holds what has come so far. Raises PullFailed, OSError."""
        whole = into / file
        if whole.exists():
            return
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(whole.name + ".part")
        path = f"/{repo}/resolve/{commit}/{quote(file)}"
        progress.advance(_size(part))
        with _client() as client:
            _steadily(repo, lambda: _go_on(repo, client, path, part, progress), lambda: _size(part))
        part.replace(whole)


def _client() -> "httpx.Client":
    import httpx
    from huggingface_hub import constants, get_token

    token = get_token()
    # httpx drops the token when a redirect leads to another host.
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=constants.ENDPOINT, headers=headers, timeout=_TIMEOUT_S, follow_redirects=True
    )


def _go_on(repo: str, client: "httpx.Client", path: str, part: Path, progress: Progress) -> None:
    """Append what is missing to `part`."""
    have = _size(part)
    # identity: a compressed answer would have other offsets than the file.
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={have}-"} if have else {})
    with client.stream("GET", path, headers=headers) as response:
        if response.status_code == _OUT_OF_RANGE:  # it was whole already, or is no part of this file
            if response.headers.get("content-range") == f"bytes */{have}":
                return
            part.unlink()
            raise _Unsteady("the part on disk does not fit the file")
        _checked(repo, response)
        with part.open("ab" if response.status_code == _PARTIAL else "wb") as stream:
            for chunk in response.iter_raw(_CHUNK_BYTES):
                stream.write(chunk)
                progress.advance(len(chunk))


def _steadily(repo: str, attempt: Callable[[], T], measure: Callable[[], int] = lambda: 0) -> T:
    """The attempt's answer, trying again while the trouble may pass. `measure` tells whether bytes came."""
    import httpx

    failures, before = 0, measure()
    while True:
        try:
            return attempt()
        except (httpx.TransportError, _Unsteady) as error:
            now = measure()
            failures = 1 if now > before else failures + 1
            before = now
            if failures == TRIES:
                reason = str(error) or type(error).__name__
                raise PullFailed(f"hf:{repo}: the hub cannot be reached: {reason}") from None
            time.sleep(PAUSE_S)


def _checked(repo: str, response: "httpx.Response") -> "httpx.Response":
    """The answer if it is good; what the hub refuses as a line that says what to do."""
    status, code = response.status_code, response.headers.get("x-error-code", "")
    if status in (_OK, _PARTIAL):
        return response
    if status == _TOO_MANY or status >= _SERVER_ERRORS:
        raise _Unsteady(f"it answers {status}")
    if code == "GatedRepo":
        raise PullFailed(f"hf:{repo} is gated: accept its terms on its page, and set HF_TOKEN to your token")
    if code == "RevisionNotFound":
        raise PullFailed(f"hf:{repo} has no such revision")
    if code == "RepoNotFound" or status in (401, 403):
        raise PullFailed(f"hf:{repo} does not exist, or is private and HF_TOKEN gives no access to it")
    raise PullFailed(f"hf:{repo}: the hub answers {status} {code}".rstrip())


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
