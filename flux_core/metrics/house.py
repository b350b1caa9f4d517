"""The figures of the whole house, read from the database when somebody asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flux_core.database.engine import Database
from flux_core.database.figures import Figures, answers, figures
from flux_core.errors import StorageUnavailable
from flux_core.metrics import definitions as m
from flux_core.models import CREDIT

log = logging.getLogger(__name__)

KEPT = 1.0
"""Least seconds between two looks at the database, however many ask."""
SHARE = 20.0
"""A look is kept for this many times as long as it took: a queue of a million jobs is not counted all the time."""
PATIENCE = 5.0
"""Seconds for one look; after that, the database counts as away."""
DOLLAR = 1_000_000


class House(Collector):
    """The gauges of the database. ``look`` before they are collected."""

    def __init__(self, db: Database, *, lease_seconds: float, zone: ZoneInfo) -> None:
        """Read from ``db``; a worker silent for ``lease_seconds`` does not live, and a day begins in ``zone``."""
        self._db = db
        self._lease_seconds = lease_seconds
        self._zone = zone
        self._figures: Figures | None = None
        self._read_at = 0.0
        self._fresh_until = 0.0
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Read the figures, unless they are fresh. Where the database does not answer, there are none."""
        async with self._looking:
            if time.monotonic() < self._fresh_until:
                return
            began, now = time.monotonic(), self._db.clock()
            try:
                async with asyncio.timeout(PATIENCE):
                    self._figures = await self._db.read(figures, now, now - self._lease_seconds, self._zone)
            except (StorageUnavailable, TimeoutError) as error:
                log.warning("The figures of the house cannot be read: %s", error or "no answer")
                self._figures = None
            self._read_at, ended = now, time.monotonic()
            # What is away is looked for again at once: waiting for it was no work of the database's.
            self._fresh_until = ended + (KEPT if self._figures is None else max(KEPT, SHARE * (ended - began)))

    async def trouble(self) -> str | None:
        """Look whether the database answers; returns why the house is not ready where it does not."""
        return await database_answers(self._db)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they were at the last look."""
        up = m.DATABASE_UP.family()
        up.add_metric((), 0.0 if self._figures is None else 1.0)
        yield up
        if self._figures is not None:
            yield from _families(self._figures, self._read_at)


def _families(found: Figures, now: float) -> Iterator[Metric]:
    jobs, oldest = m.QUEUE_JOBS.family(), m.QUEUE_OLDEST.family()
    for (lane, model, venue), crowd in found.waiting.items():
        labels = (lane.name.lower(), model, venue)
        jobs.add_metric(labels, crowd.jobs)
        oldest.add_metric(labels, max(0.0, now - crowd.oldest))
    yield jobs
    yield oldest
    undelivered = found.undelivered
    yield _one(m.QUEUE_STOPPED, found.stopped)
    yield _several(m.QUEUE_RESUMING, {(provider,): count for provider, count in found.resuming.items()}.items())
    running = {(model, provider or "unknown"): count for (model, provider), count in found.running.items()}
    yield _several(m.RUNNING_JOBS, running.items())
    yield _one(m.EXPIRED_JOBS, found.expired)
    yield _one(m.OUTBOX_JOBS, undelivered.jobs)
    yield _one(m.OUTBOX_OLDEST, max(0.0, now - undelivered.oldest) if undelivered.jobs else 0.0)
    yield _one(m.UNDELIVERABLE, found.undeliverable)
    crew = {(provider, "open" if takes else "closed"): count for (provider, takes), count in found.workers.items()}
    yield _several(m.WORKERS, crew.items())
    yield _several(m.SLOTS, {(provider,): count for provider, count in found.slots.items()}.items())
    yield _several(m.REVIEWS, {(kind,): found.reviews.get(kind, 0) for kind in ("approval", "report")}.items())
    spent = {"reserved": found.credits.reserved, "settled": found.credits.settled, "refunded": found.credits.refunded}
    yield _several(m.CREDITS, {(state,): amount / CREDIT for state, amount in spent.items()}.items())
    yield _several(m.DOLLARS, {(provider,): sum_ / DOLLAR for provider, sum_ in found.microdollars.items()}.items())
    yield _several(m.CAPS, {(provider,): cap / DOLLAR for provider, cap in found.caps.items()}.items())


def _one(reading: m.Reading, value: float) -> GaugeMetricFamily:
    return _several(reading, [((), value)])


def _several(reading: m.Reading, values: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    family = reading.family()
    for labels, value in values:
        family.add_metric(labels, value)
    return family


async def database_answers(db: Database) -> str | None:
    """Look whether the database answers; returns why the process is not ready where it does not."""
    try:
        await db.read(answers)
    except StorageUnavailable:
        return "no answer"
    return None
