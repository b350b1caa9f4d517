"""How a transaction on PostgreSQL begins and ends: with its locks and settings in the message that begins it.

Each message costs both sides about as much as a simple statement does, and most of our transactions are a few
statements long. So what a query locks first goes along with ``BEGIN``, and what it notes last with ``COMMIT``.
"""

from __future__ import annotations

from typing import Any, cast

import asyncpg
import sqlalchemy as sa


class OpeningConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose next transaction begins with the statements in ``first``, and ends with those in ``last``."""

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    begun = False
    """Whether the server may have begun to write since this was set to False: what only looks is safe to repeat."""
    careful = False
    """Whether the query has tried to go without locks before."""
    in_a_message = False
    """Whether what the query writes may be committed as soon as it is called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Connect, as asyncpg does."""
        super().__init__(*args, **kwargs)
        self.routines: set[str] = set()  # those that this connection has made for itself

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Opening | asyncpg.transaction.Transaction:
        """Return the transaction that SQLAlchemy begins with the first statement, and ends."""
        if not self.first:
            return super().transaction(isolation=isolation, readonly=readonly, deferrable=deferrable)
        return Opening(self)


class Opening:
    """A transaction that begins with statements; what they return is of no interest."""

    def __init__(self, connection: OpeningConnection) -> None:
        self._connection = connection
        self._routines = set(connection.routines)

    async def start(self) -> None:
        """Begin."""
        first, self._connection.first = self._connection.first, ()
        try:
            await self._connection.execute("; ".join(("BEGIN", *first)))
        except asyncpg.PostgresError:
            await self.rollback()  # it did begin; whoever called believes that it did not
            raise
        self._connection.begun = True

    async def commit(self) -> None:
        """Commit."""
        last, self._connection.last = self._connection.last, ()
        try:
            await self._connection.execute("; ".join((*last, "COMMIT")))
        except asyncpg.PostgresError:
            if self._connection.is_in_transaction():
                await self.rollback()
            raise

    async def rollback(self) -> None:
        """Undo it, and the routines that were made in it."""
        self._connection.routines = self._routines
        await self._connection.execute("ROLLBACK")


def driver_of(connection: sa.Connection) -> OpeningConnection:
    """Return the connection beneath SQLAlchemy's own to a server."""
    return cast("OpeningConnection", connection.connection.driver_connection)


def begin_with(connection: sa.Connection, statement: str) -> bool:
    """Let the transaction begin with a statement, without parameters and results; False: it has begun already."""
    driver = driver_of(connection)
    if driver.is_in_transaction():
        return False
    driver.first = (*driver.first, statement)
    return True
