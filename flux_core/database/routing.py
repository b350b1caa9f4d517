"""What communities prefer: who draws first, and which hosted providers may."""

from __future__ import annotations

from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import routing
from flux_core.router import RoutingPolicy

DEFAULT = RoutingPolicy()
"""Where neither the operator nor the community has said anything."""

c = routing.c

_ALL = sa.select(c.guild_id, c.policy)
_ONE = sa.select(c.policy).where(c.guild_id == bindparam("guild"))
_DELETE = sa.delete(routing).where(c.guild_id == bindparam("guild"))
_INSERT = sa.insert(routing).inline()


@lru_cache(maxsize=1024)
def _read(text: str) -> RoutingPolicy:
    return RoutingPolicy.model_validate_json(text)


def policy_of(connection: Connection, guild_id: int, default: RoutingPolicy) -> RoutingPolicy:
    """Return what a guild prefers, the operator's ``default`` where it has said nothing."""
    text = connection.execute(_ONE, {"guild": guild_id}).scalar()
    return default if text is None else _read(text)


def policies(connection: Connection) -> dict[int, RoutingPolicy]:
    """Return the policy of every guild that has one of its own."""
    return {row.guild_id: _read(row.policy) for row in connection.execute(_ALL)}


def put_policy(connection: Connection, guild_id: int, policy: RoutingPolicy, by: int, now: float) -> None:
    """Set what a guild prefers."""
    connection.execute(_DELETE, {"guild": guild_id})
    row = {"guild_id": guild_id, "policy": policy.model_dump_json(), "by_user": by, "since": now}
    connection.execute(_INSERT, row)
