"""Who drew how much with what, for moderators."""

from __future__ import annotations

from flux_core.database import spending, usage
from flux_core.database.engine import Database
from flux_core.database.usage import By, Report
from flux_core.quota import QuotaRules, day_at


class Usage:
    """Who drew how much with what, for moderators."""

    def __init__(self, db: Database, rules: QuotaRules) -> None:
        self._db = db
        self._rules = rules

    async def report(self, guild_id: int | None, *, days: int, by: By) -> Report:
        """Return what was drawn in a guild (None: everywhere) today and in the ``days`` - 1 days before."""
        return await self._db.read(usage.report, guild_id, days, by, self._rules.zone, self._db.clock())

    async def spent_today(self, guild_id: int) -> int:
        """Return what a guild's jobs cost at hosted providers today (in the operator's zone), reserved or paid.

        In millionths of a dollar.
        """
        return await self._db.read(spending.of_guild, guild_id, day_at(self._db.clock(), self._rules.zone))
