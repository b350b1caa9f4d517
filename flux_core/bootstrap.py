"""The only place that chooses adapters: settings in, a wired studio out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue
from flux_core.images.store import PictureStore
from flux_core.maintenance import maintain
from flux_core.models import CREDIT
from flux_core.quota import QuotaRules
from flux_core.service import Studio
from flux_core.settings import Settings


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the configured database, migrated to this version, and close it at the end."""
    database = await Database.open(settings.database)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_studio(settings: Settings) -> AsyncIterator[Studio]:
    """Wire the service that bot and shell talk to, with its chores running beside it."""
    async with open_database(settings) as database:
        pictures = PictureStore(settings.pictures)
        async with maintained(database, job_queue(settings, database), pictures):
            yield Studio(
                database,
                pictures,
                settings.catalogue,
                quota_rules(settings),
                lease_seconds=settings.lease_seconds,
            )


@asynccontextmanager
async def maintained(database: Database, queue: JobQueue, pictures: PictureStore) -> AsyncIterator[None]:
    """Run the chores in the background. Every process does, so that any of them alone keeps the house."""
    stop = asyncio.Event()
    chores = asyncio.create_task(maintain(database, queue, pictures, stop), name="maintenance")
    try:
        yield
    finally:
        stop.set()
        await chores


def quota_rules(settings: Settings) -> QuotaRules:
    """Return the operator's default rules."""
    return QuotaRules(
        allowance=round(settings.daily_allowance * CREDIT),
        zone=ZoneInfo(settings.timezone),
        max_waiting=settings.max_waiting,
    )


def job_queue(settings: Settings, database: Database) -> JobQueue:
    """Return the queue as workers and maintenance see it."""
    return JobQueue(database, max_attempts=settings.max_attempts, lease_seconds=settings.lease_seconds)
