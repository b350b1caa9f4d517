"""Run transactions on a database, and notice what other processes wrote: SQLite in a file, or PostgreSQL.

Queries are plain functions over a SQLAlchemy connection, the same for both; ``read`` and ``write`` run one in one
transaction. On SQLite one writer works at a time. On PostgreSQL many do, so a query that others may not interfere with
says so: see ``flux_core.database.locks``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

from flux_core.errors import StorageUnavailable

CLOCKS_APART = 2.0
"""Seconds between two clocks that leases bear: they last for LEASE_SECONDS, and are renewed several times in it."""

P = ParamSpec("P")
T = TypeVar("T")


_TAKES_LONG = "_takes_long"


def takes_long(query: Callable[P, T]) -> Callable[P, T]:
    """Mark a query that goes through everything there is. A server gives it hours, and the others seconds."""
    setattr(query, _TAKES_LONG, True)
    return query


def is_long(query: Callable[..., object]) -> bool:
    """Say whether a query is marked so."""
    return getattr(query, _TAKES_LONG, False)


class Database(ABC):
    """One database, shared by everything in this process. ``connecting.connect`` opens one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock

    @abstractmethod
    async def close(self) -> None:
        """Finish the transactions that run, and let go of the database."""

    @abstractmethod
    async def read(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` on one unchanging view of the data; raises StorageUnavailable."""

    @abstractmethod
    async def write(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` and commit, or change nothing when it raises; raises StorageUnavailable.

        A caller that is cancelled while it waits does not know whether the transaction went through.
        """

    @abstractmethod
    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109 (no error: the time is up)
        """Return a number that differs from ``since`` as soon as anybody, in any process, has committed a write.

        Returns at once for None, and the same number after ``timeout`` seconds without a write.
        """

    async def apart(self) -> float:
        """Return by how many seconds at least this machine's clock is ahead of the server's; raises StorageUnavailable.

        Negative when it is behind. A file has no clock of its own.
        """
        return 0.0


def clocks_apart(apart: float) -> str:
    """Say what is wrong with a clock that is ``apart`` seconds ahead of the database's."""
    return (
        f"This machine's clock is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} the database's. Leases "
        "are written by one machine and read by another, so work may be done twice: have both ask the same time server "
        "(NTP)."
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the database raises when it does not answer into StorageUnavailable; let our own mistakes through."""
    try:
        yield
    except (IntegrityError, ProgrammingError, DataError, NotSupportedError):
        raise
    except DBAPIError as error:
        raise StorageUnavailable(f"The database does not answer: {error.orig}") from error
    except sa.exc.TimeoutError as error:
        raise StorageUnavailable("The database does not answer: all connections are taken.") from error
