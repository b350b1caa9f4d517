"""What is set for single members: limits, credits, bans."""

from __future__ import annotations

from flux_core.database.engine import Database
from flux_core.quota import QuotaRules


class Members:
    """What is set for single members: limits, credits, bans."""

    def __init__(self, db: Database, rules: QuotaRules) -> None:
        self._db = db
        self._rules = rules
