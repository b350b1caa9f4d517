"""What moderators changed, and who did it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from flux_core.database import audit
from flux_core.database.audit import Entry, Wanted
from flux_core.database.engine import Database


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries of the log, newest first."""

    entries: Sequence[Entry]
    newer: bool
    """Whether there are newer ones."""
    older: bool


class Audit:
    """What moderators changed, and who did it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(
        self, wanted: Wanted, *, before: int | None = None, after: int | None = None, limit: int = 10
    ) -> AuditPage:
        """Return the newest entries; or those behind the entry ``before``, or those right after ``after`` (ids)."""
        return await self._db.read(_page, wanted, before, after, limit)

    async def actions(self, guild_id: int | None) -> list[str]:
        """Return the different actions that the log of a guild (None: of everywhere) tells of, sorted."""
        return await self._db.read(audit.actions, guild_id)


def _page(connection: Connection, wanted: Wanted, before: int | None, after: int | None, limit: int) -> AuditPage:
    if after is not None:
        found = audit.newer(connection, wanted, after, limit)
        # New entries may have come meanwhile, and the page is full of the ones next to it.
        if len(found) < limit:
            found = audit.older(connection, wanted, None, limit)
    else:
        found = audit.older(connection, wanted, before, limit)
    if not found:
        return AuditPage((), newer=before is not None, older=False)
    return AuditPage(
        found,
        newer=bool(audit.newer(connection, wanted, found[0].id, 1)),
        older=bool(audit.older(connection, wanted, found[-1].id, 1)),
    )
