"""A studio with real parts and a provider that keeps to a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from PIL import Image
from sqlalchemy import Connection

from flux_core.catalogue import Catalogue
from flux_core.database.connecting import connect
from flux_core.database.engine import Database
from flux_core.database.queue import JobQueue
from flux_core.database.tables import ledger
from flux_core.generation import RequestOptions, resolve
from flux_core.images.intake import VettedPicture
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, Job, JobState, Origin
from flux_core.providers.base import Drawing, DrawTask, Progress, Provider
from flux_core.providers.scripted import ScriptedProvider
from flux_core.quota import QuotaRules
from flux_core.router import RoutingPolicy
from flux_core.service import Studio, Submission
from flux_core.worker.worker import Worker
from tests.database.new_file import new_file

CATALOGUE = Catalogue({"flux-tiny": "scripted", "flux-schnell": "scripted"}, default="flux-tiny")
ANNE = Account(guild_id=1, user_id=1)


@dataclass
class Floor:
    """Everything a worker stands on, and short ways to use it."""

    db: Database
    studio: Studio
    queue: JobQueue
    store: PictureStore
    workers: list[asyncio.Task[None]] = field(default_factory=list)

    async def submit(self, *, user: int = 1, picture: Image.Image | None = None, **options: Any) -> Job:
        """Ask for pictures."""
        given = RequestOptions.model_validate({"prompt": "a red circle", "seed": 7, "count": 2, "steps": 4} | options)
        source = None
        if picture is not None:
            file = BytesIO()
            picture.save(file, "PNG")
            source = await self.studio.store_input(VettedPicture(file.getvalue(), *picture.size))
        request = resolve(given, CATALOGUE, picture=source)
        await asyncio.sleep(0.0011)  # equal turns are taken by id, which is sorted by the millisecond
        return await self.studio.submit(
            Submission(account=Account(guild_id=1, user_id=user), request=request, origin=Origin.IMAGINE)
        )

    async def job(self, job: Job) -> Job:
        """Read a job anew."""
        return await self.studio.job(job.id)

    async def until(self, job: Job, reached: Callable[[Job], bool], *, seconds: float = 60) -> Job:
        """Wait until a job is as wanted."""
        async with asyncio.timeout(seconds):
            while not reached(now := await self.job(job)):  # noqa: ASYNC110 (other processes set no event of ours)
                await asyncio.sleep(0.01)
            return now

    async def ended(self, job: Job) -> Job:
        """Wait for a job's end."""
        return await self.until(job, lambda now: now.state.ended)

    async def running(self, job: Job) -> Job:
        """Wait until a job's first step is drawn and told."""
        return await self.until(job, lambda now: now.state is JobState.RUNNING and now.steps_done > 0)

    async def spent(self) -> int:
        """Return what Anne's jobs cost after all refunds, in thousandths of a credit."""
        return (await self.studio.quota(ANNE)).spent

    async def kinds(self, job: Job) -> list[str]:
        """Return the kinds of a job's ledger rows in order."""

        def rows(connection: Connection) -> list[str]:
            query = sa.select(ledger.c.kind).where(ledger.c.job_id == job.id).order_by(ledger.c.id)
            return list(connection.execute(query).scalars())

        return await self.db.read(rows)

    @asynccontextmanager
    async def worker(self, provider: Provider, **options: Any) -> AsyncIterator[asyncio.Task[None]]:
        """Run a worker, and stop it in order at the end."""
        stop = asyncio.Event()
        arguments: dict[str, Any] = {
            "worker_id": f"w{len(self.workers)}",
            "changed": self.db.changed,
            "lease_seconds": 5.0,
        }
        worker = Worker(self.queue, self.store, provider, **(arguments | options))
        running = asyncio.create_task(worker.run(stop))
        self.workers.append(running)
        running.add_done_callback(lambda task: None if task.cancelled() else task.exception())
        try:
            yield running
        finally:
            stop.set()
            async with asyncio.timeout(60):
                await running


class Stubborn(ScriptedProvider):
    """Draws in a thread and holds each drawing until it is let go; tells what it began and what it was doing then."""

    def __init__(self, **options: Any) -> None:
        super().__init__(CATALOGUE, **options)
        self.go = asyncio.Event()
        self.begun = asyncio.Semaphore(0)

    async def draw(self, task: DrawTask, progress: Progress) -> Drawing:
        self.begun.release()
        progress.step(0, task.request.steps)
        progress.step(1, task.request.steps)
        await self.go.wait()
        return await super().draw(task, progress)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return new_file(tmp_path / "flux-bot.db")


@pytest.fixture
async def floor(database_url: str, tmp_path: Path) -> AsyncIterator[Floor]:
    db = await connect(database_url)
    store = PictureStore(str(tmp_path / "pictures"))
    rules = QuotaRules(allowance=1_000_000, zone=ZoneInfo("UTC"), max_waiting=100)
    studio = Studio(db, store, CATALOGUE, rules, lease_seconds=5.0)
    queue = JobQueue(db, max_attempts=3, lease_seconds=5.0, policy=RoutingPolicy(return_seconds=0))
    yield Floor(db, studio, queue, store)
    await db.close()


@pytest.fixture
def scripted() -> Callable[..., ScriptedProvider]:
    """Make a scripted provider."""
    return lambda **options: ScriptedProvider(CATALOGUE, **options)
