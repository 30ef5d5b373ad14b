"""A Hugging Face hub small enough for a test: real HTTP, ranges, and a line that goes silent."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves `files` as the repository org/name. `stall_after`: bytes of the next file, then silence;
    `cut_after`: then the line breaks."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], licence: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.licence = licence
        self.stall_after: int | None = None
        self.cut_after: int | None = None
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self.requests = 0
        self.ranges: list[str] = []
        self.tokens: set[str | None] = set()
        threading.Thread(target=self.serve_forever, name="hub", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def model_info(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "lfs": {
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                    "pointerSize": 1,
                },
            }
            for name, content in self.files.items()
        ]
        return {
            "id": "org/name",
            "sha": COMMIT,
            "siblings": siblings,
            "cardData": {"license": self.licence},
            "tags": [],
            "private": False,
            "downloads": 0,
            "likes": 0,
        }


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        self.server.requests += 1
        self.server.tokens.add(self.headers.get("authorization"))
        if self.path.startswith("/api/models/org/name"):
            content = json.dumps(self.server.model_info()).encode()
            self._head(200, len(content), {"content-type": "application/json"})
            self.wfile.write(content)
        else:
            self._file(body=True)

    def _file(self, body: bool) -> None:
        name = self.path.removeprefix(f"/org/name/resolve/{COMMIT}/")
        content = self.server.files.get(name)
        if content is None:
            self._head(404, 0, {"x-error-code": "EntryNotFound"})
            return
        headers = {"etag": f'"{hashlib.sha256(content).hexdigest()}"', "x-repo-commit": COMMIT}
        start = 0
        if body and (wanted := self.headers.get("range")):
            self.server.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["content-range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, len(content) - start, headers | {"accept-ranges": "bytes"})
        if body:
            self._send(content[start:])

    def _send(self, content: bytes) -> None:
        server = self.server
        stall_after, cut_after = server.stall_after, server.cut_after
        server.stall_after = server.cut_after = None
        self.wfile.write(content[: stall_after or cut_after])
        self.close_connection = bool(stall_after or cut_after)
        if stall_after:
            server.stalled.set()
            server.closing.wait()

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
