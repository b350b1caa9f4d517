"""Who drew how much with what, for moderators."""

from __future__ import annotations

from flux_core.database.engine import Database
from flux_core.quota import QuotaRules


class Usage:
    """Who drew how much with what, for moderators."""

    def __init__(self, db: Database, rules: QuotaRules) -> None:
        self._db = db
        self._rules = rules
