"""A small stand-in for the Hugging Face hub: one repository, with troubles on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

REVISION = "0123456789abcdef0123456789abcdef01234567"
LARGE = ".safetensors"
"""Files that the hub keeps apart, and knows the SHA-256 of."""


class Hub:
    """Serves ``files`` as the repository ``name`` on the loopback."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        """Begin to serve; ``close`` ends it."""
        self.name = name
        self.files = dict(files)
        self.asked: list[str] = []
        """Which paths were asked for at all."""
        self.sent: list[tuple[str, int]] = []
        """Which files were asked for, and from which byte on."""
        self.break_off: dict[str, int] = {}
        """File → after how many bytes its connection breaks, once."""
        self.garble: dict[str, int] = {}
        """File → how many times other bytes of the same number are sent."""
        self.gated = False
        """Whether files are refused to those who have not accepted a licence."""
        self.status: int | None = None
        """What every question is answered with, where that is no answer."""
        self.listed = self.served = REVISION
        """Which revision is described, and which one files are of."""
        self.tokens: list[str | None] = []
        hub = self

        class Handler(_Handler):
            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def do_GET(self) -> None:
                hub._answer(self, body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """Return what HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: _Handler, *, body: bool) -> None:
        path = urlsplit(request.path).path
        self.asked.append(path)
        self.tokens.append(request.headers.get("Authorization"))
        if self.status is not None:
            request.reply(self.status, b"", {}, body)
            return
        if path.rstrip("/") in (f"/api/models/{self.name}", f"/api/models/{self.name}/revision/{self.listed}"):
            request.reply(200, json.dumps(self._described()).encode(), {"Content-Type": "application/json"}, body)
            return
        prefix = f"/{self.name}/resolve/main/"
        file = path.removeprefix(prefix)
        if not path.startswith(prefix) or file not in self.files:
            code = "EntryNotFound" if path.startswith(prefix) else "RepoNotFound"
            request.reply(404, b"", {"X-Error-Code": code}, body)
            return
        if self.gated:
            request.reply(403, b"", {"X-Error-Code": "GatedRepo"}, body)
            return
        data = self.files[file]
        headers = {"ETag": f'"{_sha256(data)}"', "X-Repo-Commit": self.served, "Accept-Ranges": "bytes"}
        if not body:
            request.reply(200, data, headers, body)
            return
        start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.sent.append((file, start))
        if self.garble.get(file, 0):
            self.garble[file] -= 1
            data = bytes(byte ^ 255 for byte in data)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        request.reply(206 if start else 200, data[start:], headers, body, stop=self.break_off.pop(file, None))

    def _described(self) -> dict[str, Any]:
        siblings = []
        for name, data in self.files.items():
            one: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": hashlib.sha1(data).hexdigest()}
            if name.endswith(LARGE):
                one["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 130}
            siblings.append(one)
        return {"id": self.name, "modelId": self.name, "sha": self.listed, "siblings": siblings, "tags": []}


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.0: no connection outlives its answer, so a hub that was closed is gone."""

    def reply(
        self, status: int, data: bytes, headers: Mapping[str, str], body: bool, *, stop: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(data))}).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:stop])

    def log_message(self, format: str, *args: object) -> None:
        pass


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
