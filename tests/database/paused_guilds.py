"""Rows of a table that hangs together with no other, for tests that are about the database itself.

Here and not in a test's file, so that the processes which they start need not import what tests do.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database.tables import pauses


def put(connection: Connection, guild: int) -> None:
    """Pause a guild; raise IntegrityError where it is paused."""
    connection.execute(sa.insert(pauses), {"guild_id": guild, "reason": "x", "by_user": 1, "since": 0.0})


def guilds(connection: Connection) -> list[int]:
    """Return the ids of those that are paused."""
    return list(connection.execute(sa.select(pauses.c.guild_id).order_by(pauses.c.guild_id)).scalars())
