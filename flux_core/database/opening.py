"""How a transaction on PostgreSQL begins: with its locks and settings in the message that begins it.

Each message costs both sides about as much as a simple statement does, and most of our transactions are a few
statements long. So what a query locks first goes along with ``BEGIN``.
"""

from __future__ import annotations

from typing import cast

import asyncpg
import sqlalchemy as sa


class OpeningConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose next transaction begins with the statements in ``first``."""

    first: tuple[str, ...] = ()
    begun = False
    """Whether the server has begun a transaction since this was set to False."""
    careful = False
    """Whether the query has tried to go without locks before."""

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Opening | asyncpg.transaction.Transaction:
        """Return the transaction that SQLAlchemy begins with the first statement, and ends."""
        if not self.first:
            self.begun = True
            return super().transaction(isolation=isolation, readonly=readonly, deferrable=deferrable)
        return Opening(self)


class Opening:
    """A transaction that begins with statements; what they return is of no interest."""

    def __init__(self, connection: OpeningConnection) -> None:
        self._connection = connection

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
        await self._connection.execute("COMMIT")

    async def rollback(self) -> None:
        """Undo it."""
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
