"""What belongs to a member alone: their settings, their history, their data."""

from __future__ import annotations

from flux_core.database.engine import Database
from flux_core.quota import QuotaRules
from flux_core.service.store import PictureStore


class Personal:
    """What belongs to a member alone: their settings, their history, their data."""

    def __init__(self, db: Database, pictures: PictureStore, rules: QuotaRules) -> None:
        self._db = db
        self._pictures = pictures
        self._rules = rules
