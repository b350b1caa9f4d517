"""An S3-compatible server for tests: moto's, as a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from tempfile import TemporaryFile

import httpx

from flux_core.settings import child_environment

SERVE = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(sys.argv[1:])
"""
"""Serves until whoever started it is gone, whatever becomes of that."""
SECRET = "a-secret-key-that-nobody-may-read"
SECONDS = 60.0
PAGE = 100
"""Keys that the server lists at once; S3 lists a thousand."""


class BucketServer:
    """Starts, stops and starts again at one address; a server that was stopped has forgotten everything."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._names = count()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Return what obstore reads to reach the server."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "flux",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-c", SERVE, "-H", "127.0.0.1", "-p", str(self.port)]
        with TemporaryFile() as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                env=child_environment(MOTO_S3_DEFAULT_MAX_KEYS=str(PAGE)),
            )
            deadline = time.monotonic() + SECONDS
            while True:
                with contextlib.suppress(httpx.TransportError):
                    httpx.get(f"{self.address}/moto-api/", timeout=SECONDS)
                    return
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said.seek(0)
                    raise AssertionError(f"moto's server did not start: {said.read().decode()}")
                time.sleep(0.05)

    def stop(self) -> None:
        """Kill the server, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def bucket(self, name: str | None = None) -> str:
        """Make a bucket, a new one unless it is named; return its URL."""
        name = name or f"pictures-{next(self._names)}"
        httpx.put(f"{self.address}/{name}", timeout=SECONDS).raise_for_status()
        return f"s3://{name}"

    def keys(self, bucket: str) -> set[str]:
        """Return everything that lies in a bucket, as the server lists it."""
        listed = httpx.get(f"{self.address}/{bucket.removeprefix('s3://')}", timeout=SECONDS)
        return {part.partition("</Key>")[0] for part in listed.text.split("<Key>")[1:]}

    def uploads(self, bucket: str) -> str:
        """Return what the server says of uploads that have begun and are not complete."""
        return httpx.get(f"{self.address}/{bucket.removeprefix('s3://')}?uploads", timeout=SECONDS).text

    @contextlib.contextmanager
    def denying(self) -> Iterator[None]:
        """Refuse every request meanwhile: from now on its keys are checked, and nobody has any."""
        httpx.post(f"{self.address}/moto-api/reset-auth", content=b"0", timeout=SECONDS).raise_for_status()
        try:
            yield
        finally:
            self.allow()

    def allow(self) -> None:
        """Refuse nothing any more."""
        httpx.post(f"{self.address}/moto-api/reset-auth", content=b"inf", timeout=SECONDS).raise_for_status()
