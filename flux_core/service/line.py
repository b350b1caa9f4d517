"""The queue in the hands of moderators."""

from __future__ import annotations

from flux_core.database.engine import Database


class Line:
    """The queue in the hands of moderators."""

    def __init__(self, db: Database) -> None:
        self._db = db
