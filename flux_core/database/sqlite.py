"""A database that is a file of SQLite: one writer at a time, and all that is SQLite's own."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, PoolProxiedConnection, event
from sqlalchemy.engine import URL

from flux_core.database.engine import Database, translated
from flux_core.database.schema import upgrade
from flux_core.errors import ConfigurationError, StorageUnavailable

BUSY_SECONDS = 15.0
"""How long a writer waits for another process's transaction; ours take about a millisecond."""
SETTINGS = (
    # Written pages reach the disk at checkpoints: a power cut may undo the last transactions, never tear one.
    "synchronous = NORMAL",
    # 16 MB of log between checkpoints, each of which waits for the disk.
    "wal_autocheckpoint = 4000",
    "cache_size = -16000",
    "foreign_keys = ON",
)
READERS = 2
STATEMENTS = 512
"""Prepared statements that a connection remembers: all of ours."""
POLL_SECONDS = 0.025

P = ParamSpec("P")
T = TypeVar("T")


class SqliteDatabase(Database):
    """Transactions run on threads of the database's own.

    So one costs one thread hop however many statements it has (aiosqlite hops for every statement), and in one process
    writers queue up in memory instead of on the file's lock.
    """

    def __init__(self, writer: Engine, reader: Engine, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._writer, self._reader = writer, reader
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="database-write")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="database-read")
        self._watching = ThreadPoolExecutor(1, thread_name_prefix="database-watch")
        self._watcher: PoolProxiedConnection | None = None
        self._closed = False

    @classmethod
    async def open_file(cls, url: URL, *, clock: Callable[[], float]) -> SqliteDatabase:
        """Open the file at ``url``, creating it and running migrations when they are missing; raises as ``open``."""
        parsed = _sqlite_url(url)
        database = cls(_engine(parsed, writes=True), _engine(parsed, writes=False), clock)
        try:
            await asyncio.get_running_loop().run_in_executor(database._writing, _prepare, parsed, database._writer)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Finish the transactions that run, and let go of the file."""
        if self._closed:
            return
        self._closed = True
        for executor in (self._watching, self._writing, self._reading):
            await asyncio.to_thread(executor.shutdown)
        if self._watcher is not None:
            self._watcher.close()
        self._writer.dispose()
        self._reader.dispose()

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` on one unchanging view of the data; raises StorageUnavailable."""
        return await self._run(self._reading, self._reader, query, *args, **kwargs)

    async def write(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` and commit, or change nothing when it raises; raises StorageUnavailable.

        A caller that is cancelled while it waits does not know whether the transaction went through.
        """
        return await self._run(self._writing, self._writer, query, *args, **kwargs)

    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109 (no error: the time is up)
        """Return a number that differs from ``since`` as soon as anybody, in any process, has committed a write.

        Returns at once for None, and the same number after ``timeout`` seconds without a write.
        """
        deadline = time.monotonic() + timeout
        while True:
            version = await self._hop(self._watching, self._version)
            remaining = deadline - time.monotonic()
            if version != since or remaining <= 0:
                return version
            await asyncio.sleep(min(POLL_SECONDS, remaining))

    @contextmanager
    def here(self, *, writes: bool = False) -> Iterator[Connection]:
        """Run one transaction in the caller's own thread, for a command that does nothing besides."""
        with _sqlite_errors(), (self._writer if writes else self._reader).begin() as connection:
            yield connection

    def _version(self) -> int:
        # PRAGMA data_version counts the commits of other connections, so this one never writes.
        with _sqlite_errors():
            if self._watcher is None:
                self._watcher = self._reader.raw_connection()
            cursor = self._watcher.cursor()
            version = int(cursor.execute("PRAGMA data_version").fetchone()[0])
            cursor.close()
            return version

    async def _run(
        self,
        executor: ThreadPoolExecutor,
        engine: Engine,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def transaction() -> T:
            with _sqlite_errors(), engine.begin() as connection:
                return query(connection, *args, **kwargs)

        return await self._hop(executor, transaction)

    async def _hop(self, executor: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StorageUnavailable("The database was closed.")
        return await asyncio.get_running_loop().run_in_executor(executor, work)


def _sqlite_url(url: URL) -> URL:
    if url.database in (None, "", ":memory:"):
        raise ConfigurationError("DATABASE_URL needs a file: bot and workers are processes of their own and share it.")
    # Whatever driver the URL names, transactions run on threads of ours with the driver of the standard library.
    return url.set(drivername="sqlite")


def _engine(url: URL, *, writes: bool) -> Engine:
    engine = sa.create_engine(
        url,
        # Parameters hold interaction tokens; errors and logs must not.
        hide_parameters=True,
        pool_size=1 if writes else READERS + 1,
        max_overflow=0,
        # Every transaction ends in a commit or rollback of its own.
        pool_reset_on_return=None,
        connect_args={"timeout": BUSY_SECONDS, "cached_statements": STATEMENTS},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, record: object) -> None:
        # The driver's implicit transactions are off: they would begin deferred, and only before some statements.
        connection.isolation_level = None
        for setting in SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        connection.execute(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")

    def begin(connection: PoolProxiedConnection) -> None:
        # Taking the write lock first means that what a transaction read still holds when it writes.
        connection.cursor().execute("BEGIN IMMEDIATE" if writes else "BEGIN")

    # The dialect's hook, not a "begin" event: an engine with events of its own pays for them in every statement.
    engine.dialect.do_begin = begin  # type: ignore[method-assign, assignment]
    return engine


def _prepare(url: URL, engine: Engine) -> None:
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"The folder of the database cannot be made: {error}") from error
    with _sqlite_errors():
        _enter_wal(path)
        with engine.begin() as connection:
            upgrade(connection)


def _enter_wal(path: Path) -> None:
    """Turn on write-ahead logging, which the file remembers.

    SQLite does not wait for this lock when several processes open a new file at once, so we do.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise StorageUnavailable(f"The database {path.name} cannot be opened: {error}") from error
            time.sleep(0.02)


@contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        with translated():
            yield
    except sqlite3.Error as error:
        raise StorageUnavailable(f"The database does not answer: {error}") from error
