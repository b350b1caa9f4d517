"""Who may not draw in a guild, until when, and why."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import bans
from flux_core.jobs import Account

c = bans.c

_DELETE = sa.delete(bans).where(c.guild_id == bindparam("guild"), c.user_id == bindparam("user"))
_INSERT = sa.insert(bans).inline()


def put(connection: Connection, account: Account, by: int, reason: str, until: float | None, now: float) -> None:
    """Ban an account until ``until`` (unix seconds; None: until lifted), in place of any ban before."""
    connection.execute(_DELETE, {"guild": account.guild_id, "user": account.user_id})
    row = {"guild_id": account.guild_id, "user_id": account.user_id, "until": until, "reason": reason}
    connection.execute(_INSERT, row | {"by_user": by, "since": now})
