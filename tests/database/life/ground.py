"""An empty studio for every example, on a database of either kind, whose transactions can be made to go wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.batching import TRIALS, shape_of
from flux_core.database import batches, workers
from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue, WorkerInfo
from flux_core.database.sqlite import SqliteDatabase
from flux_core.database.tables import metadata, virtual_time
from flux_core.errors import StorageUnavailable
from flux_core.images.store import PictureStore
from flux_core.maintenance import Chore, Retention, chores
from flux_core.offers import Offer, Price
from flux_core.router import LOCAL
from flux_core.service import Studio
from tests.database.postgres import new_database
from tests.database.scene import AT_ONCE, CATALOGUE, SCHNELL, TINY, Clock, a_request, rules

T = TypeVar("T")

ZONE = ZoneInfo("Europe/Berlin")
EVENING = 1_806_186_600.0
"""2027-03-27 23:30 in Berlin: half an hour before midnight, and in the night in which the clocks go forward."""
ALLOWANCE, MOST_WAITING = 9_000, 4
LEASE, MOST_ATTEMPTS = 30.0, 3
KEPT = Retention(pictures_days=1, jobs_days=3)
CARDS = ("card-1", "card-2")
VENDORS = {"acme": 0.01, "bolt": 0.02}
"""Hosted providers: dollars a picture."""
HOSTED = {"acme-1": "acme", "acme-2": "acme", "bolt-1": "bolt"}
"""Workers for them."""
WORKERS = (*CARDS, *HOSTED)
OFFERS = {
    vendor: {model: Offer(theirs=model, price=Price(picture=price)) for model in (SCHNELL, TINY)}
    for vendor, price in VENDORS.items()
}
TOGETHER = 4
"""Pictures that a card draws at once."""

Fate = Literal["well", "lost answer", "undone"]
"""What becomes of a transaction: it is committed; it is, but its caller hears that the database does not answer; it
is undone, and its caller hears the same."""


class Undone(Exception):
    """Ends a transaction that nobody may see."""


class Unsteady(Database):
    """A database whose next transaction that writes may meet another fate than it should."""

    def __init__(self, steady: Database, clock: Clock) -> None:
        super().__init__(clock)
        self.steady = steady
        self.fate: Fate = "well"
        self.committed: list[Any] = []
        """What the transactions returned that were committed."""

    async def close(self) -> None:
        await self.steady.close()

    async def read(self, query: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        return await self.steady.read(query, *args, **kwargs)

    async def write(self, query: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        fate, self.fate = self.fate, "well"
        if fate == "undone":

            @wraps(query)  # with the marks that say what it locks
            def undone(connection: Connection, *given: Any, **more: Any) -> None:
                connection.execute(sa.select(1))  # begins a transaction: what is one message has none to be undone
                query(connection, *given, **more)
                raise Undone

            try:
                await self.steady.write(undone, *args, **kwargs)
            except Undone:
                raise StorageUnavailable("It was not committed.") from None
        result = await self.steady.write(query, *args, **kwargs)
        self.committed.append(result)
        if fate == "lost answer":
            raise StorageUnavailable("It was committed, and nobody heard.")
        return result

    async def changed(self, since: int | None, timeout: float) -> int:  # noqa: ASYNC109
        return 0 if since is None else since


class Ground:
    """One database, emptied before each example, and the loop that everything on it runs in."""

    def __init__(self, kind: Literal["sqlite", "postgresql"], folder: Path) -> None:
        """Make the database; whatever is stored lies in memory."""
        self.kind = kind
        self.folder = folder
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.clock = Clock(EVENING)
        self._steady: Database | None = None
        self._template = folder / "template.db"

    def close(self) -> None:
        """Let go of the database."""
        self.run(self._let_go())
        self.runner.close()

    def run(self, awaitable: Awaitable[T]) -> T:
        """Wait for something."""

        async def wait() -> T:
            return await awaitable

        return self.runner.run(wait())

    def look(self, query: Callable[[Connection], T]) -> T:
        """Return what a query reads, by the shortest way."""
        assert self._steady is not None
        if isinstance(self._steady, SqliteDatabase):
            with self._steady.here() as connection:
                return query(connection)
        return self.run(self._steady.read(query))

    def fresh(self) -> House:
        """Return an empty studio, in place of the last one."""
        self.clock.now = EVENING
        steady = self.run(self._emptied())
        return House(self, Unsteady(steady, self.clock))

    async def _emptied(self) -> Database:
        if self.kind == "postgresql":
            if self._steady is None:
                self._steady = await connect(await new_database(), pool=2, clock=self.clock)
            await self._steady.write(_empty)
            await self._steady.write(_furnish)
            return self._steady
        if not self._template.exists():
            template = await connect(f"sqlite:///{self._template}")
            await template.write(_furnish)
            await template.close()
        await self._let_go()
        file = self.folder / "life.db"
        for old in self.folder.glob("life.db*"):
            old.unlink()
        shutil.copy(self._template, file)
        self._steady = await connect(f"sqlite:///{file}", clock=self.clock)
        return self._steady

    async def _let_go(self) -> None:
        if self._steady is not None:
            await self._steady.close()
            self._steady = None


def _empty(connection: Connection) -> None:
    # What may not be changed may be forgotten here: the triggers sleep in this transaction, and so do foreign keys.
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
    for table in metadata.sorted_tables:
        if table.name not in ("virtual_time", "program"):
            connection.execute(sa.delete(table))
    connection.execute(sa.update(virtual_time).values(value=0.0))


def _furnish(connection: Connection) -> None:
    """Have all workers there, and a card on which pictures drawn together take as long as one."""
    for name in WORKERS:
        workers.register(connection, introduction(name), EVENING)
    shape = shape_of(a_request())
    assert shape is not None
    for pictures in range(1, TOGETHER + 1):
        for _ in range(TRIALS):
            batches.record(connection, "card", shape.model, shape.scale, pictures, float(pictures), 1.0)


def introduction(name: str) -> WorkerInfo:
    """Return how a worker introduces itself."""
    vendor = HOSTED.get(name)
    return WorkerInfo(
        id=name,
        host="here",
        pid=1,
        device="api" if vendor else "card",
        provider=vendor or LOCAL,
        hosted=vendor is not None,
        offers=OFFERS[vendor] if vendor else {model: Offer(theirs=model) for model in (SCHNELL, TINY)},
        slots=4 if vendor else 1,
        started_at=0.0,
    )


class House:
    """A studio wired as in production, on a database that may be unsteady and pictures in memory."""

    def __init__(self, ground: Ground, db: Unsteady) -> None:
        self.run = ground.run
        self.clock = ground.clock
        self.db = db
        self.store = PictureStore("memory:///")
        self.queue = JobQueue(db, max_attempts=MOST_ATTEMPTS, lease_seconds=LEASE, policy=AT_ONCE, zone=ZONE)
        known = rules(zone=ZONE, allowance=ALLOWANCE, max_waiting=MOST_WAITING)
        self.studio = Studio(db, self.store, CATALOGUE, known, lease_seconds=LEASE, policy=AT_ONCE, offers=OFFERS)
        self.chores: dict[str, Chore] = {chore.name: chore for chore in chores(db, self.queue, self.store, KEPT)}
