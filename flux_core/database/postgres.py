"""A PostgreSQL server: many processes on many machines, each with a small pool of connections."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flux_core.database import locks
from flux_core.database.engine import Database, translated
from flux_core.database.schema import upgrade
from flux_core.errors import StorageUnavailable

log = logging.getLogger(__name__)

POOL = 5
"""Connections of one process for transactions; one more listens."""
POOL_SECONDS = 15.0
"""How long a transaction waits for a connection: as long as a writer waits on SQLite."""
STATEMENT_SECONDS = 15.0
"""How long one statement may take; ours take about a millisecond."""
CONNECT_SECONDS = 5.0
CHANNEL = "flux_bot"
"""On which processes tell one another that something was written."""
TELL_SECONDS = 0.005
"""Writes within this time are told of together: PostgreSQL commits those that notify one after the other."""
BACK_OFF = (0.2, 1.0, 5.0)
"""Seconds between attempts to listen again."""
AGAIN = ("40001", "40P01")
"""PostgreSQL's codes for a transaction that may simply be repeated: a conflict of versions, a deadlock."""
TRIES = 5

P = ParamSpec("P")
T = TypeVar("T")


class PostgresDatabase(Database):
    """Transactions run on connections of a bounded pool; one connection listens for what others write."""

    def __init__(self, engine: AsyncEngine, address: URL, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._writer = engine
        self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._address = address
        self._closed = False
        self._version = 0
        self._changed = asyncio.Condition()
        self._written = asyncio.Event()
        self._listening = asyncio.Event()
        self._name = secrets.token_hex(8)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def connect(cls, url: URL, *, clock: Callable[[], float]) -> PostgresDatabase:
        """Connect to the server at ``url`` and run the migrations that are missing; raises StorageUnavailable."""
        address = url.set(drivername="postgresql+asyncpg")
        engine = create_async_engine(
            address,
            # Parameters hold interaction tokens; errors and logs must not.
            hide_parameters=True,
            pool_size=POOL,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            pool_pre_ping=True,
            connect_args={
                "timeout": CONNECT_SECONDS,
                "server_settings": {
                    "application_name": "flux-bot",
                    "statement_timeout": str(round(STATEMENT_SECONDS * 1000)),
                    "idle_in_transaction_session_timeout": str(round(2 * STATEMENT_SECONDS * 1000)),
                },
            },
        )
        database = cls(engine, address, clock)
        try:
            with _answers():
                async with engine.begin() as connection:
                    await connection.run_sync(_upgrade)
        except BaseException:
            await engine.dispose()
            raise
        database._tasks = [
            asyncio.create_task(database._listen(), name="database-listen"),
            asyncio.create_task(database._tell(), name="database-tell"),
        ]
        with suppress(TimeoutError):
            # Without it, everybody still looks again from time to time.
            await asyncio.wait_for(database._listening.wait(), CONNECT_SECONDS)
        return database

    async def close(self) -> None:
        """Let go of all connections."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._writer.dispose()

    async def read(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` on one unchanging view of the data; raises StorageUnavailable."""
        self._check_open()
        with _answers():
            async with self._reader.begin() as connection:
                return await connection.run_sync(query, *args, **kwargs)

    async def write(
        self, query: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:  # fmt: skip
        """Run ``query(connection, *args)`` and commit, or change nothing when it raises; raises StorageUnavailable."""
        self._check_open()
        with _answers():
            for attempt in range(TRIES):
                try:
                    async with self._writer.begin() as connection:
                        await connection.run_sync(locks.enter, query)
                        result = await connection.run_sync(query, *args, **kwargs)
                except DBAPIError as error:
                    if getattr(error.orig, "sqlstate", None) not in AGAIN or attempt == TRIES - 1:
                        raise
                    await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))
                else:
                    self._written.set()
                    await self._note()
                    return result
        raise AssertionError("the last attempt returns or raises")

    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109 (no error: the time is up)
        """Return a number that differs from ``since`` as soon as anybody has committed a write, as ``Database``."""
        self._check_open()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(lambda: self._closed or self._version != since)
        self._check_open()
        return self._version

    def _check_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("The database was closed.")

    async def _note(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def _tell(self) -> None:
        """Tell the other processes that something was written: soon, and of many writes at once."""
        told = sa.text(f"NOTIFY {CHANNEL}, '{self._name}'")
        while True:
            await self._written.wait()
            await asyncio.sleep(TELL_SECONDS)
            self._written.clear()
            try:
                with _answers():
                    async with self._writer.begin() as connection:
                        await connection.execute(told)
            except StorageUnavailable as error:
                log.warning("others cannot be told of a change; they look again by themselves: %s", error)

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen_once()
                failures = 0
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log.warning("cannot listen to the database: %s", type(error).__name__)
            await asyncio.sleep(BACK_OFF[min(failures, len(BACK_OFF) - 1)])
            failures += 1

    async def _listen_once(self) -> None:
        """Listen until the connection ends."""
        plain = self._address.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(plain, timeout=CONNECT_SECONDS)
        ended = asyncio.Event()
        noted: set[asyncio.Task[None]] = set()

        def heard(_connection: Any, _process: int, _channel: str, who: Any) -> None:
            if who == self._name:
                return
            task = asyncio.get_running_loop().create_task(self._note())
            noted.add(task)
            task.add_done_callback(noted.discard)

        try:
            connection.add_termination_listener(lambda _: ended.set())
            await connection.add_listener(CHANNEL, heard)
            if self._listening.is_set():
                await self._note()  # whatever was told meanwhile was missed
            self._listening.set()
            await ended.wait()
        finally:
            with suppress(Exception):
                await connection.close(timeout=1.0)


def _upgrade(connection: Connection) -> None:
    # Several processes may start at once; the first one migrates.
    locks.enter(connection, _upgrade)
    upgrade(connection)


@contextmanager
def _answers() -> Iterator[None]:
    try:
        with translated():
            yield
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError) as error:
        raise StorageUnavailable(f"The database does not answer: {type(error).__name__}") from error
