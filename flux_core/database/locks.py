"""What queries that write keep others from doing meanwhile. On SQLite nothing: one writer works at a time anyway.

On PostgreSQL each query first shuts the house, so that it is alone, as on SQLite. Those that run all the time and are
safe beside one another are marked with ``beside_others``: they share the house, and lock what they read and write for
themselves. Locks are PostgreSQL's advisory ones: they end with the transaction. They are taken in the order in which
they stand here, and before any row is written, so that nobody waits in a circle.

Statements see what was committed before they began (READ COMMITTED), so what a lock protects is read by a statement
after the one that takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.tables import jobs
from flux_core.jobs import Account

P = ParamSpec("P")
T = TypeVar("T")

HOUSE, TURNS, ACCOUNT, GUILD, MEASURES = 0x666C7578, 0x7475726E, 0x61636374, 0x6775696C, 0x6D656173
"""The kinds of locks: the first key of PostgreSQL's two."""
KEYS = 2**31
"""The second keys. Two things with the same key wait for one another, which is slower and no more than that."""

_BESIDE_OTHERS, _MAY_BE_UNDONE = "_beside_others", "_may_be_undone"


def _lock(kind: int, key: sa.ColumnElement[int]) -> sa.ColumnElement[None]:
    return sa.func.pg_advisory_xact_lock(sa.literal_column(str(kind)), key)


_ONE: sa.ColumnElement[int] = sa.literal_column("0")
_KEY = bindparam("key", type_=sa.Integer)
_ALONE = sa.select(_lock(HOUSE, _ONE))
_TOGETHER = sa.func.pg_advisory_xact_lock_shared(sa.literal_column(str(HOUSE)), _ONE)
_SHARED = sa.select(_TOGETHER)
_SHARED_AND_HASTY = sa.select(_TOGETHER, sa.func.set_config("synchronous_commit", "off", True))
_TURNS = sa.select(_lock(TURNS, _ONE))
_ACCOUNT = sa.select(_lock(ACCOUNT, _KEY))
_ACCOUNT_OF = sa.select(_lock(ACCOUNT, sa.cast(jobs.c.user_id % sa.literal_column(str(KEYS)), sa.Integer))).where(
    jobs.c.id == bindparam("job")
)
_GUILD = sa.select(_lock(GUILD, _KEY))
_MEASURES = sa.select(_lock(MEASURES, _ONE))


def beside_others(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that writes as safe beside others that are marked.

    Each of its statements changes rows by conditions that still hold when they are written, or it locks what it has
    read.
    """
    setattr(query, _BESIDE_OTHERS, True)
    return query


def may_be_undone(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that is safe beside others, and that a crash of the server may undo: nobody waits for the disk.

    What is committed later, and waits for the disk, takes this one with it.
    """
    setattr(query, _MAY_BE_UNDONE, True)
    return beside_others(query)


def enter(connection: Connection, query: Callable[..., object]) -> None:
    """Shut the house for ``query``, or share it where that is enough."""
    if not getattr(query, _BESIDE_OTHERS, False):
        connection.execute(_ALONE)
    else:
        connection.execute(_SHARED_AND_HASTY if getattr(query, _MAY_BE_UNDONE, False) else _SHARED)


def turns(connection: Connection) -> None:
    """Be alone with whose turn it is: one claims after the other, as each is charged to the guilds' common time."""
    if _has_locks(connection):
        connection.execute(_TURNS)


def account(connection: Connection, of: Account) -> None:
    """Be alone with what a member has waiting, running, and to spend."""
    if _has_locks(connection):
        connection.execute(_ACCOUNT, {"key": of.user_id % KEYS})


def account_of(connection: Connection, job_id: str) -> None:
    """Be alone with the account of a job."""
    if _has_locks(connection):
        connection.execute(_ACCOUNT_OF, {"job": job_id})


def guild(connection: Connection, guild_id: int) -> bool:
    """Be alone with what the members of a guild share: its pool, and that it is known.

    True: others may have changed it until now. False: nobody could.
    """
    if _has_locks(connection):
        connection.execute(_GUILD, {"key": guild_id % KEYS})
        return True
    return False


def measures(connection: Connection) -> None:
    """Be alone with what was measured."""
    if _has_locks(connection):
        connection.execute(_MEASURES)


def _has_locks(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"
