"""Which processes of the bot there are, and the shards that each keeps."""

from __future__ import annotations

import json

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import locks
from flux_core.database.tables import bots
from flux_core.shards import Keeper

c = bots.c

_DELETE = sa.delete(bots).where(c.id == bindparam("bot"))
_INSERT = sa.insert(bots).inline()
_SEEN = sa.update(bots).where(c.id == bindparam("bot")).values(seen_at=bindparam("now"))
_ALIVE = sa.select(bots).where(c.seen_at >= bindparam("since")).order_by(c.started_at, c.id)
_PRUNE = sa.delete(bots).where(c.seen_at < bindparam("before"))


def register(connection: Connection, keeper: Keeper, now: float) -> None:
    """Add a process, in place of an earlier one with its id."""
    connection.execute(_DELETE, {"bot": keeper.id})
    row = {
        "id": keeper.id,
        "application_id": keeper.application_id,
        "host": keeper.host,
        "pid": keeper.pid,
        "shards": json.dumps(keeper.shards),
        "shard_count": keeper.count,
        "started_at": keeper.started_at,
        "seen_at": now,
    }
    connection.execute(_INSERT, row)


@locks.may_be_undone
def beat(connection: Connection, bot_id: str, now: float) -> bool:
    """Note that a process lives; False when it is not known (any more)."""
    return connection.execute(_SEEN, {"bot": bot_id, "now": now}).rowcount == 1


def retire(connection: Connection, bot_id: str) -> None:
    """Remove a process."""
    connection.execute(_DELETE, {"bot": bot_id})


def alive(connection: Connection, since: float) -> list[Keeper]:
    """Return the processes that gave a sign of life after ``since``, the oldest first."""
    return [
        Keeper(
            id=row.id,
            application_id=row.application_id,
            host=row.host,
            pid=row.pid,
            shards=tuple(json.loads(row.shards)),
            count=row.shard_count,
            started_at=row.started_at,
            seen_at=row.seen_at,
        )
        for row in connection.execute(_ALIVE, {"since": since})
    ]


def prune(connection: Connection, before: float) -> None:
    """Remove the processes silent since ``before``."""
    connection.execute(_PRUNE, {"before": before})
