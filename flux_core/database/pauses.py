"""Where the queue is paused: submits are refused there, and what waits is not claimed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.jobs import hold, release
from flux_core.database.tables import EVERYWHERE, pauses

c = pauses.c

_REASON = (
    sa.select(c.reason)
    .where(c.guild_id.in_([bindparam("guild"), sa.literal_column(str(EVERYWHERE))]))
    .order_by(c.guild_id)
    .limit(1)
)
_DELETE = sa.delete(pauses).where(c.guild_id == bindparam("guild"))
_INSERT = sa.insert(pauses).inline()


def reason(connection: Connection, guild_id: int | None) -> str | None:
    """Return why a guild is paused (None asks for everywhere), or None when it is not."""
    return connection.execute(_REASON, {"guild": EVERYWHERE if guild_id is None else guild_id}).scalar()


def pause(connection: Connection, guild_id: int | None, by: int, why: str, now: float) -> None:
    """Pause a guild, or everything for None; a second pause replaces the first one's reason."""
    where = EVERYWHERE if guild_id is None else guild_id
    connection.execute(_DELETE, {"guild": where})
    connection.execute(_INSERT, {"guild_id": where, "reason": why, "by_user": by, "since": now})
    if guild_id is not None:
        hold(connection, guild_id)


def resume(connection: Connection, guild_id: int | None) -> None:
    """End a pause."""
    connection.execute(_DELETE, {"guild": EVERYWHERE if guild_id is None else guild_id})
    if guild_id is not None:
        release(connection, guild_id)
