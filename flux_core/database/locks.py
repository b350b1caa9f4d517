"""What queries that write keep others from doing meanwhile. On SQLite nothing: one writer works at a time anyway.

On PostgreSQL each query first shuts the house, so that it is alone, as on SQLite. Those that run all the time and are
safe beside one another are marked with ``beside_others``: they share the house, and lock what they read and write for
themselves. Locks are PostgreSQL's advisory ones: they end with the transaction. They are taken in the order in which
they stand here, and before any row is written, so that nobody waits in a circle.

Statements see what was committed before they began (READ COMMITTED), so what a lock protects is read by a statement
after the one that takes it: those that a query takes first go along with ``BEGIN``.

Claims and results first try to go without locks of these kinds but the house's, by one statement that locks the rows
it needs and passes by those that others have locked. A submit first looks without any lock, and then writes under its
own, provided that what it saw still holds: the account's row is the one it saw, and nobody has been alone in the house
since (``UNCHANGED``). Where that cannot be (``Contended``), the query is run again with locks from the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database.opening import begin_with, driver_of
from flux_core.database.tables import jobs, members, program
from flux_core.jobs import Account

P = ParamSpec("P")
T = TypeVar("T")

HOUSE, TURNS, ACCOUNT, GUILD, MEASURES = 0x666C7578, 0x7475726E, 0x61636374, 0x6775696C, 0x6D656173
"""The kinds of locks: the first key of PostgreSQL's two."""
KEYS = 2**31
"""The second keys. Two things with the same key wait for one another, which is slower and no more than that."""


class Contended(Exception):
    """A query that went without locks has found that it needs them: it is run once more, with them."""


_BESIDE_OTHERS, _MAY_BE_UNDONE = "_beside_others", "_may_be_undone"
_IN_A_MESSAGE, _EMPTY_HANDED = "_in_a_message", "_empty_handed"


_LOCK = sa.select(
    sa.func.pg_advisory_xact_lock(bindparam("kind", type_=sa.Integer), bindparam("key", type_=sa.Integer))
)


def _lock(kind: int, key: int = 0) -> str:
    return f"SELECT pg_advisory_xact_lock({kind}, {key})"


def _be_alone(connection: Connection, kind: int, key: int = 0) -> bool:
    """Take a lock, on a server; return whether there are any."""
    if not _has_locks(connection):
        return False
    if not begin_with(connection, _lock(kind, key)):
        connection.execute(_LOCK, {"kind": kind, "key": key})
    return True


_ALONE = _lock(HOUSE)
TOGETHER = f"SELECT pg_advisory_xact_lock_shared({HOUSE}, 0)"
"""Shares the house."""
HASTY = "SELECT set_config('synchronous_commit', 'off', true)"
"""Does not wait for the disk."""
# Changes nothing but the row's xmin, which names the transaction that wrote it; nothing where nothing else was written.
_HAS_BEEN_ALONE = "UPDATE program SET id = id WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
_ACCOUNT_OF = sa.select(
    sa.func.pg_advisory_xact_lock(
        sa.literal_column(str(ACCOUNT)), sa.cast(jobs.c.user_id % sa.literal_column(str(KEYS)), sa.Integer)
    )
).where(jobs.c.id == bindparam("job"))

OWN = sa.select(
    sa.func.pg_advisory_xact_lock(
        sa.literal_column(str(ACCOUNT)),
        sa.cast(bindparam("user", type_=sa.BigInteger) % sa.literal_column(str(KEYS)), sa.Integer),
    )
)
"""Locks the account of the member ``user``, as ``account`` does."""


def _version(table: str) -> sa.ColumnElement[str]:
    return sa.cast(sa.literal_column(f"{table}.xmin"), sa.Text)


VERSIONS: tuple[sa.ColumnElement[Any], ...] = (
    sa.select(_version("program")).select_from(program).scalar_subquery().label("house_version"),
    _version("members").label("member_version"),
)
"""What a look from ``members`` remembers for ``UNCHANGED``."""
UNCHANGED = sa.exists(
    sa.select(sa.literal_column("1"))
    .select_from(
        program.outerjoin(
            members, sa.and_(members.c.guild_id == bindparam("guild"), members.c.user_id == bindparam("user"))
        )
    )
    .where(_version("program") == bindparam("house_version", type_=sa.Text))
    .where(_version("members").is_not_distinct_from(bindparam("member_version", type_=sa.Text)))
)
"""Whether what locks of the house and the account protect is as it was at a look with these versions."""


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


def in_a_message(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that is safe beside others, and writes nothing but by one call of a routine, which is committed.

    It raises nothing after that. In other queries that call it, a routine is a part of their transaction.
    """
    setattr(query, _IN_A_MESSAGE, True)
    return beside_others(query)


def writes_nothing_empty_handed(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that has written nothing when it returns nothing: nobody is woken to look at that.

    Workers claim whenever somebody has written. If a claim that finds nothing counted, each would wake all the others,
    and itself, for ever.
    """
    setattr(query, _EMPTY_HANDED, True)
    return query


def has_written(query: Callable[..., object], result: object) -> bool:
    """Say whether a query may have written something, by what it has returned."""
    return bool(result) or not getattr(query, _EMPTY_HANDED, False)


def enter(connection: Connection, query: Callable[..., object]) -> None:
    """Shut the house for ``query``, or share it where that is enough: once its transaction begins."""
    driver = driver_of(connection)
    driver.in_a_message = getattr(query, _IN_A_MESSAGE, False)
    if not getattr(query, _BESIDE_OTHERS, False):
        driver.first, driver.last = (_ALONE,), (_HAS_BEEN_ALONE,)
    elif getattr(query, _MAY_BE_UNDONE, False):
        driver.first = (TOGETHER, HASTY)
    else:
        driver.first = (TOGETHER,)


def unneeded(connection: Connection) -> bool:
    """Say whether a query may try to go without locks: on a server, the first time. It raises Contended if it fails."""
    return _has_locks(connection) and not driver_of(connection).careful


def turns(connection: Connection) -> None:
    """Be alone with whose turn it is, among those who claim with locks."""
    _be_alone(connection, TURNS)


def account(connection: Connection, of: Account) -> None:
    """Be alone with what a member has waiting, running, and to spend."""
    _be_alone(connection, ACCOUNT, of.user_id % KEYS)


def account_of(connection: Connection, job_id: str) -> None:
    """Be alone with the account of a job."""
    if _has_locks(connection):
        connection.execute(_ACCOUNT_OF, {"job": job_id})


def guild(connection: Connection, guild_id: int) -> bool:
    """Be alone with what the members of a guild share: its pool, and that it is known.

    True: others may have changed it until now. False: nobody could.
    """
    return _be_alone(connection, GUILD, guild_id % KEYS)


def measures(connection: Connection) -> None:
    """Be alone with what was measured."""
    _be_alone(connection, MEASURES)


def _has_locks(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"
