"""What queries that write keep others from doing meanwhile. On SQLite nothing: one writer works at a time anyway.

On PostgreSQL each query first shuts the house, so that it is alone, as on SQLite. Those that run all the time and are
safe beside one another are marked with ``beside_others``: they share the house, and lock what they read and write for
themselves. Locks are PostgreSQL's advisory ones: they end with the transaction. They are taken in the order in which
they stand here, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

P = ParamSpec("P")
T = TypeVar("T")

HOUSE, GUILD = 0x666C7578, 0x6775696C
"""The kinds of locks: the first key of PostgreSQL's two."""

_MARK = "_beside_others"
_ALONE = sa.select(sa.func.pg_advisory_xact_lock(sa.literal_column(str(HOUSE)), 0))
_SHARED = sa.select(sa.func.pg_advisory_xact_lock_shared(sa.literal_column(str(HOUSE)), 0))
_GUILD = sa.select(sa.func.pg_advisory_xact_lock(sa.literal_column(str(GUILD)), bindparam("key")))


def beside_others(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that writes as safe beside others that are marked.

    Each of its statements changes one row by a condition that still holds when it is written, or it locks the guild.
    """
    setattr(query, _MARK, True)
    return query


def enter(connection: Connection, query: Callable[..., object]) -> None:
    """Shut the house for ``query``, or share it where that is enough."""
    connection.execute(_SHARED if getattr(query, _MARK, False) else _ALONE)


def guild(connection: Connection, guild_id: int) -> None:
    """Be alone with a guild's accounts, pool and turns until the end of the transaction."""
    if connection.dialect.name == "postgresql":
        # Two guilds with the same key wait for one another, which is slower and no more than that.
        connection.execute(_GUILD, {"key": guild_id % 2**31})
