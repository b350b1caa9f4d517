"""What moderators changed, and who did it."""

from __future__ import annotations

from flux_core.database.engine import Database


class Audit:
    """What moderators changed, and who did it."""

    def __init__(self, db: Database) -> None:
        self._db = db
