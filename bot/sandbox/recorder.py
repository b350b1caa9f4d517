"""Remember the bot's REST requests, so that tests can hold each against Discord's description of its API."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from .files import SentFile

HIDDEN = "HIDDEN"
"""Stands where an interaction token was: tokens let anybody answer as the bot."""
MOST_KEPT = 10_000
_TOKEN = re.compile(r"^(/(?:webhooks|interactions)/[^/]+/)[^/]+")


@dataclass(frozen=True, slots=True)
class Record:
    """One request, after it was answered. Paths are below /api/v10."""

    method: str
    path: str
    route: str
    """The path's template, such as /channels/{channel_id}/messages; empty when the sandbox has no such route."""
    query: dict[str, str]
    json: Any
    files: list[dict[str, Any]]
    status: int


class Recorder:
    """Keep records in memory, and write each as a line of JSON when there is a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.records: deque[Record] = deque(maxlen=MOST_KEPT)
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def add(
        self,
        method: str,
        path: str,
        route: str,
        query: Mapping[str, str],
        body: Any,
        files: Mapping[str, SentFile],
        status: int,
    ) -> None:
        """Record a request, its interaction token hidden."""
        record = Record(
            method,
            _TOKEN.sub(rf"\1{HIDDEN}", path.removeprefix("/api/v10")),
            route,
            dict(query),
            body,
            [{"name": name, "filename": file.filename, "size": len(file.data)} for name, file in files.items()],
            status,
        )
        self.records.append(record)
        if self._file is not None:
            self._file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
