"""Whose turn it is to start a session with Discord: shards that share a turn start one after the other."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import shard_starts

c = shard_starts.c

CLOCKS_APART = 60.0
"""Seconds by which the clocks of two machines may differ: what a faster one has set is no mistake."""

_ONE = (c.application_id == bindparam("application"), c.turn == bindparam("number"))
_TAKE = (
    sa.update(shard_starts)
    # Later than anybody could have set it: some clock was put back since.
    .where(*_ONE, sa.or_(c.free_at <= bindparam("now"), c.free_at > bindparam("latest")))
    .values(free_at=bindparam("until"))
)
_BEGIN = sa.update(shard_starts).where(*_ONE).values(free_at=bindparam("until"))
_FREE_AT = sa.select(c.free_at).where(*_ONE)
_INSERT = sa.insert(shard_starts).inline()


def take(connection: Connection, application_id: int, turn: int, now: float, seconds: float) -> float:
    """Take a turn for ``seconds`` and return 0, or return the seconds after which it may be free."""
    key = {"application": application_id, "number": turn}
    times = {"now": now, "until": now + seconds, "latest": now + seconds + CLOCKS_APART}
    if connection.execute(_TAKE, key | times).rowcount:
        return 0.0
    free_at: float | None = connection.execute(_FREE_AT, key).scalar()
    if free_at is None:
        connection.execute(_INSERT, {"application_id": application_id, "turn": turn, "free_at": now + seconds})
        return 0.0
    return max(0.001, free_at - now)


def begin(connection: Connection, application_id: int, turn: int, now: float, seconds: float) -> None:
    """Let a turn that the caller has taken last for ``seconds`` from now on."""
    connection.execute(_BEGIN, {"application": application_id, "number": turn, "until": now + seconds})
