"""The only place that chooses adapters: settings in, a wired studio out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue
from flux_core.errors import ConfigurationError
from flux_core.images.store import PictureStore
from flux_core.maintenance import FOR_EVER, Retention, maintain
from flux_core.models import CREDIT
from flux_core.provider_settings import ProviderSettings, vendors
from flux_core.providers.hosted.vendor import Access, Vendor
from flux_core.quota import QuotaRules
from flux_core.service import Studio
from flux_core.settings import Settings

if TYPE_CHECKING:
    from flux_core.providers.hosted.provider import HostedProvider

ALL = "all"
"""In place of names: every hosted provider that is configured."""


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """Open the configured database, migrated to this version, and close it at the end."""
    database = await connect(settings.database, pool=settings.database_pool)
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_studio(settings: Settings) -> AsyncIterator[Studio]:
    """Wire the service that bot and shell talk to, with its chores running beside it."""
    async with open_database(settings) as database:
        pictures = PictureStore(settings.pictures)
        async with maintained(database, job_queue(settings, database), pictures, retention(settings)):
            yield studio_of(settings, database, pictures)


def studio_of(settings: Settings, database: Database, pictures: PictureStore) -> Studio:
    """Return the service on a database and a picture store that are open."""
    return Studio(
        database,
        pictures,
        settings.catalogue,
        quota_rules(settings),
        lease_seconds=settings.lease_seconds,
        offers={name: vendor.offers for name, vendor in configured_vendors(settings).items()},
        policy=settings.routing,
        links=pictures.has_links,
        elsewhere=settings.offered_elsewhere,
        caps={name: cap for name, given in settings.providers.items() if (cap := given.money_cap) is not None},
    )


@asynccontextmanager
async def maintained(
    database: Database, queue: JobQueue, pictures: PictureStore, kept: Retention = FOR_EVER
) -> AsyncIterator[None]:
    """Run the chores in the background. Every process does, so that any of them alone keeps the house."""
    stop = asyncio.Event()
    chores = asyncio.create_task(maintain(database, queue, pictures, stop, kept), name="maintenance")
    try:
        yield
    finally:
        stop.set()
        await chores


def retention(settings: Settings) -> Retention:
    """Return how long things are kept."""
    return Retention(
        pictures_days=settings.keep_pictures_days,
        jobs_days=settings.keep_jobs_days,
        reviews_days=settings.keep_reviews_days,
        audit_days=settings.keep_audit_days,
    )


def quota_rules(settings: Settings) -> QuotaRules:
    """Return the operator's default rules."""
    return QuotaRules(
        allowance=round(settings.daily_allowance * CREDIT),
        zone=ZoneInfo(settings.timezone),
        max_waiting=settings.max_waiting,
    )


def job_queue(settings: Settings, database: Database) -> JobQueue:
    """Return the queue as workers and maintenance see it."""
    return JobQueue(
        database,
        max_attempts=settings.max_attempts,
        lease_seconds=settings.lease_seconds,
        policy=settings.routing,
        zone=ZoneInfo(settings.timezone),
    )


def access_of(name: str, given: ProviderSettings) -> Access:
    """Return how to reach the vendor called ``name``, as its settings say."""
    return given.access(vendors()[name])


def configured_vendors(settings: Settings) -> Mapping[str, Vendor]:
    """Return the vendors that are configured, by name; raises ConfigurationError for a wrong value."""
    known = vendors()
    return {name: known[name](given.access(known[name])) for name, given in settings.providers.items()}


def chosen_providers(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return the configured providers among ``names``; "all" stands for every one.

    Raises ConfigurationError for a name that is not known or not configured, and when none is left.
    """
    known, configured = vendors(), settings.providers
    wanted = list(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
    for name in wanted:
        if name != ALL and name not in known:
            raise ConfigurationError(f"There is no provider {name!r}; flux-bot knows {', '.join(known)}.")
        if name != ALL and name not in configured:
            missing = settings.every_provider[name].missing(known[name])
            raise ConfigurationError(f"{known[name].title} is not configured: set {' and '.join(missing)}.")
    chosen = list(configured) if ALL in wanted else wanted
    if not chosen:
        raise ConfigurationError("No hosted provider is configured. `flux-bot providers` tells what each one needs.")
    return chosen


def hosted_providers(settings: Settings, names: Sequence[str]) -> list[HostedProvider]:
    """Return the hosted providers called ``names``; "all": every configured one. Raises ConfigurationError."""
    from flux_core.providers.hosted.provider import HostedProvider

    links = PictureStore(settings.pictures).has_links
    known, made = configured_vendors(settings), []
    for name in chosen_providers(settings, names):
        given = settings.providers[name]
        made.append(
            HostedProvider(known[name], concurrency=given.concurrency, per_minute=given.per_minute, links=links)
        )
    return made
