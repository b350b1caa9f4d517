"""Move a house from one database to another: all that is in it, or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database import bots, workers
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.engine import Database, takes_long
from flux_core.database.schema import head, revision_of
from flux_core.database.sqlite import SqliteDatabase
from flux_core.database.tables import metadata, program, virtual_time
from flux_core.errors import ConfigurationError

ROWS_AT_ONCE = 1_000
_SEEDED = (virtual_time, program)
"""Tables into which the migrations write rows."""


async def copy_house(source: Database, target: Database, *, silent_since: float) -> Mapping[str, int]:
    """Copy everything from ``source`` to ``target`` in one transaction; return the number of rows by table.

    One of the two is a file. Raises ConfigurationError, and changes nothing, when the target has something in it, when
    bots or workers of the source gave a sign of life after ``silent_since`` (unix seconds), or when the copy is not the
    same.
    """
    if isinstance(source, SqliteDatabase):
        with source.here() as connection:
            return await target.write(copy, connection, silent_since)
    if isinstance(target, SqliteDatabase):
        with target.here(writes=True) as connection:
            return await source.read(takes_long(lambda original: copy(connection, original, silent_since)))
    raise ConfigurationError("One of the two databases has to be an SQLite file; servers have tools of their own.")


@takes_long
def copy(target: Connection, source: Connection, silent_since: float) -> Mapping[str, int]:
    """Copy everything from ``source``, as ``copy_house``."""
    if (revision := revision_of(source)) != head():
        raise ConfigurationError(
            f"The database to copy is at revision {revision}, and this flux-bot is of revision {head()}: it does not "
            "know all that is in it. Copy it with the newer version."
        )
    drawing, talking = len(workers.alive(source, silent_since)), len(bots.alive(source, silent_since))
    if drawing or talking:
        raise ConfigurationError(
            f"Bots and workers ({talking} and {drawing}) are at work on the database to copy. Stop them first: what "
            "they write meanwhile would be lost."
        )
    for table in metadata.sorted_tables:
        if table not in _SEEDED and _count(target, table):
            raise ConfigurationError(f"The database to copy to is not empty: there are rows in {table.name}.")
    copied = Counter[str]()
    for table in metadata.sorted_tables:
        if table in _SEEDED:
            target.execute(sa.delete(table))
        rows = source.execute(sa.select(table).execution_options(yield_per=ROWS_AT_ONCE))
        for some in rows.mappings().partitions():
            target.execute(sa.insert(table).inline(), [dict(row) for row in some])
            copied[table.name] += len(some)
        _count_on(target, table)
    _compare(target, source)
    return copied


def _count(connection: Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _count_on(connection: Connection, table: sa.Table) -> None:
    """Let a server number new rows from the last one on; SQLite does so by itself."""
    if connection.dialect.name == "postgresql" and (column := table.autoincrement_column) is not None:
        sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
        following = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
        connection.execute(sa.select(sa.func.setval(sequence, following, False)))


def _compare(target: Connection, source: Connection) -> None:
    for table in metadata.sorted_tables:
        there, here = _count(target, table), _count(source, table)
        if there != here:
            raise ConfigurationError(
                f"The copy of {table.name} has {there} rows instead of {here}. Nothing is kept of it."
            )
    for look in (_money, discrepancies):
        if look(target) != look(source):
            raise ConfigurationError("Ledger, counters and jobs of the copy say something else. Nothing was copied.")


def _money(connection: Connection) -> list[tuple[Any, ...]]:
    """Return what every account has in every purse."""
    c = metadata.tables["ledger"].c
    sums = sa.select(c.guild_id, c.user_id, c.purse, sa.cast(sa.func.sum(c.amount), sa.BigInteger)).group_by(
        c.guild_id, c.user_id, c.purse
    )
    return sorted(tuple(row) for row in connection.execute(sums))
