"""A studio with a database of its own, a clock that tests move, and short ways to say what happens in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.catalogue import Catalogue
from flux_core.database.connecting import POOL, connect
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue, WorkerInfo
from flux_core.database.tables import jobs, ledger, spending
from flux_core.generation import GenerationRequest, RequestOptions, resolve
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, Job, Origin, Picture, ReplyTo
from flux_core.models import Mode
from flux_core.offers import ImageInput, Offer, Price
from flux_core.quota import QuotaRules
from flux_core.router import RoutingPolicy
from flux_core.service import Studio, Submission

NOON = 1_795_262_400.0
"""2026-11-21 12:00 UTC."""
DAY = 86_400.0
SCHNELL, DEV, TINY = "flux-schnell", "flux-dev", "flux-tiny"
CATALOGUE = Catalogue({SCHNELL: "schnell", DEV: "dev", TINY: "tiny"}, default=SCHNELL)
ANNE, BERT, CLEO = (Account(guild_id=7, user_id=user) for user in (1, 2, 3))
ABROAD = Account(guild_id=8, user_id=1)

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For tests that look at what is SQLite's own: its plans, its file."""
ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

AT_ONCE = RoutingPolicy(return_seconds=0)
"""A hosted provider draws as soon as no card of our own is up."""


@dataclass
class Clock:
    """Time that stands still until it is moved."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


def a_request(model: str = SCHNELL, *, count: int = 1, **options: Any) -> GenerationRequest:
    """One megapixel of ``model``: a picture of flux-schnell costs 1,000."""
    wanted: dict[str, Any] = {"prompt": "a red circle", "seed": 7, "count": count, "model": model}
    return resolve(RequestOptions(**(wanted | options)), CATALOGUE)


def a_reply(expires: float = NOON + 900, **changes: Any) -> ReplyTo:
    """An answer in a channel."""
    place: dict[str, Any] = {"application_id": 11, "channel_id": 12, "interaction_token": "a-secret"}
    return ReplyTo(**(place | {"token_expires_at": expires} | changes))


def pictures(job: Job) -> list[Picture]:
    """What a worker stores for ``job``."""
    return [
        Picture(
            position=position,
            key=f"pictures/{job.id}/{position}.webp",
            width=job.request.width,
            height=job.request.height,
            seed=seed,
            content_type="image/webp",
            size=1000,
        )
        for position, seed in enumerate(job.request.seeds)
    ]


@dataclass
class Scene:
    """The parts, wired as in production."""

    db: Database
    studio: Studio
    queue: JobQueue
    store: PictureStore
    clock: Clock

    def use_the_time_of_day(self, *, lease_seconds: float) -> None:
        """Let time pass by itself, with leases this short."""
        self.db.clock = time.time
        self.queue.lease_seconds = lease_seconds

    async def submit(self, account: Account = ANNE, model: str = SCHNELL, **more: Any) -> Job:
        """Submit one job."""
        request = more.pop("request", None) or a_request(model, count=more.pop("count", 1))
        # Equal turns are taken by id, which is sorted by the millisecond.
        await asyncio.sleep(0.0011)
        return await self.studio.submit(
            Submission(account=account, request=request, origin=more.pop("origin", Origin.IMAGINE), **more)
        )

    async def claim(self, worker: str = "w1", *models: str) -> Job:
        """Claim a job that has to be there."""
        job = await self.queue.claim(worker, models or (SCHNELL,))
        assert job is not None, "nothing to claim"
        return job

    async def succeed(self, job: Job, worker: str = "w1") -> Job:
        """End a running job well."""
        return await self.queue.succeed(worker, job.id, pictures(job), provider="local", seconds=2.0)

    async def worker(self, id: str = "w1", *models: str, modes: tuple[Mode, ...] = (Mode.QUALITY,)) -> WorkerInfo:
        """Introduce a worker of our own."""
        offer = Offer(theirs="x", image_input=ImageInput.INLINE, modes=modes)
        offers = dict.fromkeys(models or (SCHNELL,), offer)
        info = WorkerInfo(id=id, host="here", pid=1, device="cpu", offers=offers, started_at=self.clock.now)
        await self.queue.register(info)
        return info

    async def vendor(self, provider: str = "acme", *models: str, worker: str | None = None, **more: Any) -> WorkerInfo:
        """Introduce a hosted provider's worker, with its provider's name; a picture costs ``cents``, or nothing."""
        cents = more.pop("cents", 3)
        price = None if cents is None else Price(picture=cents / 100)
        offer = Offer(theirs="x", price=price, image_input=more.pop("image_input", ImageInput.INLINE))
        usual: dict[str, Any] = {"host": "here", "pid": 1, "device": "api", "slots": 4, "started_at": self.clock.now}
        info = WorkerInfo(
            id=worker or provider,
            provider=provider,
            hosted=True,
            offers=dict.fromkeys(models or (SCHNELL,), offer),
            **(usual | more),
        )
        await self.queue.register(info)
        return info

    async def claim_hosted(self, worker: str = "acme") -> Job:
        """Claim a job for a hosted provider that has to be there."""
        job = await self.queue.claim_hosted(worker)
        assert job is not None, "nothing to claim"
        return job

    async def spent(self, job: Job) -> dict[str, int]:
        """Return what a job cost at each provider."""
        statement = sa.select(spending.c.provider, spending.c.microdollars).where(spending.c.job_id == job.id)
        return await self.db.read(
            lambda connection: {row.provider: row.microdollars for row in connection.execute(statement)}
        )

    async def ledger(self, job: Job) -> list[tuple[str, str, int]]:
        """Return the ledger's (kind, purse, amount) for a job, in order."""

        def rows(connection: Connection) -> list[tuple[str, str, int]]:
            of_job = sa.select(ledger.c.kind, ledger.c.purse, ledger.c.amount).where(ledger.c.job_id == job.id)
            return [(row.kind, row.purse, row.amount) for row in connection.execute(of_job.order_by(ledger.c.id))]

        return await self.db.read(rows)

    async def column(self, job: Job, name: str) -> Any:
        """Return what a job's row holds."""
        statement = sa.select(jobs.c[name]).where(jobs.c.id == job.id)
        return await self.db.read(lambda connection: connection.execute(statement).scalar_one())


def rules(**changes: Any) -> QuotaRules:
    """100 credits a day, ten waiting."""
    usual: dict[str, Any] = {"allowance": 100_000, "zone": ZoneInfo("UTC"), "max_waiting": 10}
    return QuotaRules(**(usual | changes))


@asynccontextmanager
async def a_scene(
    url: str,
    folder: Path,
    *,
    catalogue: Catalogue = CATALOGUE,
    policy: RoutingPolicy = AT_ONCE,
    offers: Mapping[str, Mapping[str, Offer]] | None = None,
    zone: str = "UTC",
    pool: int = POOL,
    **changed_rules: Any,
) -> AsyncIterator[Scene]:
    """Open a scene on the database at ``url``."""
    clock = Clock()
    known = rules(zone=ZoneInfo(zone), **changed_rules)
    db = await connect(url, pool=pool, clock=clock)
    try:
        store = PictureStore(str(folder / "pictures"))
        queue = JobQueue(db, max_attempts=3, lease_seconds=30.0, policy=policy, zone=known.zone)
        studio = Studio(db, store, catalogue, known, policy=policy, offers=offers)
        yield Scene(db, studio, queue, store, clock)
    finally:
        await db.close()
