"""A PostgreSQL server: many processes on many machines, each with a small pool of connections."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import asyncpg
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util import greenlet_spawn

from flux_core.database import locks
from flux_core.database.address import taken_apart
from flux_core.database.engine import CLOCKS_APART, Database, clocks_apart, is_long, translated
from flux_core.database.opening import OpeningConnection, driver_of
from flux_core.database.schema import head, revision_of, upgrade
from flux_core.database.wire import Wire
from flux_core.errors import StorageUnavailable
from flux_core.waiting import happened

POOL_SECONDS = 15.0
"""How long a transaction waits for a connection: as long as a writer waits on SQLite."""
STATEMENT_SECONDS = 15.0
"""How long one statement may take, or wait for a lock; ours take about a millisecond."""
LONG_SECONDS = 6 * 3600.0
"""The same of what goes through everything there is (``engine.takes_long``): a migration, a copy, the books."""
SILENCE_SECONDS = 5.0
"""How much longer we wait for the server to say that a statement took too long, before we take it for gone."""
CONNECT_SECONDS = 5.0
STATEMENTS = 512
"""Prepared statements that a connection remembers: all of ours."""
READ_ONLY = "25006"
"""PostgreSQL's code for a write where nothing is written: its connection leads to a server that was the first of
several, and is no longer."""
AGAIN = ("40001", "40P01", READ_ONLY)
"""PostgreSQL's codes for a transaction that may simply be repeated: a conflict of versions, a deadlock, and a server
that takes no writes, once its connection is given up."""
TRIES = 5
"""The least of them, for a transaction that was in another one's way."""

_LOOKS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_TIME = sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class PostgresDatabase(Database):
    """Transactions run on connections of a bounded pool; one connection more listens for what others write."""

    def __init__(self, url: URL, pool: int, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        address, self._besides = taken_apart(url)
        self._writer = _engine(address, self._besides, STATEMENT_SECONDS, **_pool_of(pool))
        self._reader = self._writer.execution_options(**_LOOKS)
        # Connections for one query each: to those of the pool the server has promised little patience.
        self._long_writer = _engine(address, self._besides, LONG_SECONDS, poolclass=NullPool)
        self._long_reader = self._long_writer.execution_options(**_LOOKS)
        self._tries = max(TRIES, pool + 1)  # each connection may be one to a server that takes no writes any more
        self._closed = False
        self._version = 0
        self._next = asyncio.Event()
        self._wire = Wire(self._connect_apart, self._noted)

    @classmethod
    async def connect(cls, url: URL, *, pool: int, clock: Callable[[], float]) -> PostgresDatabase:
        """Connect to the server at ``url`` with ``pool`` connections and run the migrations that are missing.

        Raises ConfigurationError for a URL that cannot work, StorageUnavailable when the server does not answer.
        """
        database = cls(url, pool, clock)
        try:
            if await database.read(revision_of) != head():
                await database._run(database._long_writer, _upgrade)
            await database._wire.open()
            if abs(apart := await database.apart()) > CLOCKS_APART:
                log.warning("%s", clocks_apart(apart))
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Let go of all connections."""
        if self._closed:
            return
        self._closed = True
        self._noted()
        await self._wire.close()
        await self._writer.dispose()

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` on one unchanging view of the data; raises StorageUnavailable."""
        self._check_open()
        engine = self._long_reader if is_long(query) else self._reader
        return await self._run(engine, lambda connection: query(connection, *args, **kwargs))

    async def write(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` and commit, or change nothing when it raises; raises StorageUnavailable.

        A caller that is cancelled while it waits does not know whether the transaction went through.
        """
        self._check_open()

        def transaction(connection: Connection) -> T:
            locks.enter(connection, query)
            return query(connection, *args, **kwargs)

        try:
            result = await self._run(self._long_writer if is_long(query) else self._writer, transaction)
        except asyncio.CancelledError:
            self._wrote()
            raise
        if locks.has_written(query, result):
            self._wrote()
        return result

    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109 (no error: the time is up)
        """Return a number that differs from ``since`` as soon as anybody has committed a write, as ``Database``."""
        self._check_open()
        deadline = time.monotonic() + timeout
        while self._version == since and (remaining := deadline - time.monotonic()) > 0:
            await happened(self._next, remaining)
        self._check_open()
        return self._version

    async def apart(self) -> float:
        """Return by how many seconds at least this machine's clock is ahead of the server's, as ``Database``."""

        def compared(connection: Connection) -> float:
            connection.execute(_TIME)  # a first one may have to connect and to be planned
            before = time.time()
            there = float(connection.execute(_TIME).scalar_one())
            after = time.time()
            return before - there if before > there else min(0.0, after - there)

        return await self.read(compared)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("The database was closed.")

    def _wrote(self) -> None:
        self._noted()
        self._wire.tell()

    def _noted(self) -> None:
        self._version += 1
        self._next.set()
        self._next = asyncio.Event()

    async def _run(self, engine: AsyncEngine, query: Callable[[Connection], T]) -> T:
        """Run a transaction, again where it was in another one's way, or its connection ended before it could write."""
        driver: OpeningConnection | None = None

        def transaction(careful: bool) -> T:
            nonlocal driver
            # Begun by the first statement: what is one message has no transaction but its own.
            with engine.sync_engine.connect() as connection:
                driver = driver_of(connection)
                driver.first, driver.last, driver.begun, driver.careful = (), (), False, careful
                driver.in_a_message = False
                try:
                    result = query(connection)
                    connection.commit()
                except (DBAPIError, asyncpg.PostgresError) as error:
                    if _code(getattr(error, "orig", error)) == READ_ONLY:
                        connection.invalidate()
                    raise
                return result

        with _answers():
            for attempt in range(self._tries):
                driver = None
                try:
                    # All of it beside the event loop's own stack at once: SQLAlchemy's asynchronous connection would
                    # change over for connecting, beginning, committing and closing, too.
                    try:
                        return await greenlet_spawn(transaction, False)
                    except locks.Contended:
                        return await greenlet_spawn(transaction, True)
                except OSError as error:
                    if driver is not None and not isinstance(error, ConnectionError | TimeoutError):
                        raise  # the query's own
                    raise _unavailable(error) from error
                except DBAPIError as error:
                    conflict = _code(error.orig) in AGAIN
                    ended_before = error.connection_invalidated and driver is not None and not driver.begun
                    if attempt == self._tries - 1 or not (conflict or ended_before):
                        raise
                    await asyncio.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, TRIES)))
        raise AssertionError("the last attempt returns or raises")

    async def _connect_apart(self) -> Any:
        """Return a connection that is not of the pool."""
        _, how = self._writer.dialect.create_connect_args(self._writer.url)
        # What is told is not kept: nobody need wait for the disk.
        settings = _server_settings(STATEMENT_SECONDS) | {"synchronous_commit": "off"}
        return await asyncpg.connect(**how, **self._besides, timeout=CONNECT_SECONDS, server_settings=settings)


def _pool_of(size: int) -> dict[str, Any]:
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": POOL_SECONDS}


def _engine(address: URL, besides: dict[str, Any], patience: float, **pool: Any) -> AsyncEngine:
    engine = create_async_engine(
        address,
        # Parameters hold interaction tokens; errors and logs must not.
        hide_parameters=True,
        **pool,
        connect_args={
            **besides,
            "timeout": CONNECT_SECONDS,
            "command_timeout": patience + SILENCE_SECONDS,
            "prepared_statement_cache_size": STATEMENTS,
            "server_settings": _server_settings(patience),
            "connection_class": OpeningConnection,
        },
    )

    @sa.event.listens_for(engine.sync_engine, "handle_error")
    def give_up(context: sa.engine.ExceptionContext) -> None:
        # Where one connection leads to a server that takes no writes, all may: they are made anew. And asyncpg has its
        # own word for one to which the server has said good-bye, as long as it is not closed.
        error = context.original_exception
        context.is_disconnect |= _code(error) == READ_ONLY or isinstance(error.__cause__, asyncpg.InternalClientError)

    @sa.event.listens_for(engine.sync_engine, "checkout")
    def begin_anew(_adapted: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        # Where one has ended while nobody used it, all have: a restarted server must not cost an order for each.
        if cast("OpeningConnection", record.driver_connection).is_closed():
            raise sa.exc.InvalidatePoolError

    return engine


def _server_settings(seconds: float) -> dict[str, str]:
    patience = str(round(seconds * 1000))
    return {
        "application_name": "flux-bot",
        "statement_timeout": patience,
        # A machine that is gone in the middle of a transaction must not keep the house shut.
        "idle_in_transaction_session_timeout": patience,
        # Whoever listens says nothing for hours, whatever a provider thinks of that.
        "idle_session_timeout": "0",
        # Nor is it forgotten on the way, and of a machine that is gone the server knows within a minute and a half: it
        # would keep their connections for two hours, and has only so many. (On a Unix socket these do nothing.)
        "tcp_keepalives_idle": "60",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
        # Compiling takes longer than any of our statements.
        "jit": "off",
        # So does planning, and what is looked up is found through the same index whatever it is.
        "plan_cache_mode": "force_generic_plan",
    }


def _upgrade(connection: Connection) -> None:
    # Several processes may start at once; the first one migrates.
    locks.enter(connection, _upgrade)
    connection.exec_driver_sql("SELECT 1")  # begins, and so waits for its turn: Alembic does one at a time
    upgrade(connection)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        with translated():
            yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _unavailable(error) from error


def _code(error: BaseException | None) -> str | None:
    code: str | None = getattr(error, "sqlstate", None)
    return code


def _unavailable(error: Exception) -> StorageUnavailable:
    return StorageUnavailable(f"The database does not answer: {str(error) or type(error).__name__}")
