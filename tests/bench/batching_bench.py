"""Many members' small pictures on this machine's own device: pictures a minute with every job alone, and together."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from flux_core.batching import shape_of
from flux_core.bootstrap import job_queue, open_database, open_studio
from flux_core.database import batches
from flux_core.database.engine import Database
from flux_core.generation import GenerationRequest, RequestOptions, resolve
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, Job, Origin
from flux_core.providers.base import Provider
from flux_core.service import Studio, Submission
from flux_core.settings import Settings
from flux_core.worker.process import local_provider
from flux_core.worker.worker import Worker
from tests.bench.report import Row

LEARNING = 100
"""Jobs from which the worker learns what drawing together gains here."""
JOBS = 48
ROUNDS = 2
"""Alone and together take turns, so that neither has the quieter machine."""
ALONE = 1


async def main() -> list[Row]:
    """Measure with flux-tiny as it ships."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            _env_file=None, data_dir=Path(folder), daily_allowance=1e6, max_waiting=1000, default_model="flux-tiny"
        )
        provider = await asyncio.to_thread(local_provider, settings)
        try:
            async with open_studio(settings) as studio, open_database(settings) as database:
                return await _measure(settings, studio, database, provider)
        finally:
            await provider.close()


async def _measure(settings: Settings, studio: Studio, database: Database, provider: Provider) -> list[Row]:
    request = resolve(RequestOptions(prompt="a red circle", model="flux-tiny", count=1, seed=7), settings.catalogue)

    async def minutes(jobs: int, together: int) -> float:
        """Return the minutes that a worker takes for jobs of as many members."""
        ordered = [await _order(studio, request, user) for user in range(jobs)]
        began = time.monotonic()
        await _draw(settings, database, provider, studio, ordered, together)
        return (time.monotonic() - began) / 60

    await minutes(LEARNING, settings.batch_pictures)
    alone = together = 0.0
    for _ in range(ROUNDS):
        alone += await minutes(JOBS, ALONE)
        together += await minutes(JOBS, settings.batch_pictures)
    shape = shape_of(request)
    assert shape is not None
    known = await database.read(batches.known, provider.device, shape.model, shape.scale)
    best = min(known, key=lambda pictures: known[pictures].seconds)
    gain = 1 - known[best].seconds / known[1].seconds
    drawn = ROUNDS * JOBS
    return [
        (
            f"pictures a minute, flux-tiny on {provider.device}: alone, up to {settings.batch_pictures} together",
            f"{drawn / alone:.0f}, {drawn / together:.0f}: × {alone / together:.2f}",
            "no slower",
        ),
        ("time saved on the engine, drawing how many at once", f"{gain:.0%}, {best}", "-"),
    ]


async def _order(studio: Studio, request: GenerationRequest, user: int) -> Job:
    submission = Submission(account=Account(guild_id=1, user_id=user + 1), request=request, origin=Origin.IMAGINE)
    return await studio.submit(submission)


async def _draw(
    settings: Settings, database: Database, provider: Provider, studio: Studio, jobs: Sequence[Job], together: int
) -> None:
    stop = asyncio.Event()
    worker = Worker(
        job_queue(settings, database),
        PictureStore(settings.pictures),
        provider,
        worker_id="bench",
        changed=database.changed,
        lease_seconds=settings.lease_seconds,
        batch_pictures=together,
    )
    working = asyncio.create_task(worker.run(stop))
    for job in jobs:
        while not (await studio.job(job.id)).state.ended:  # noqa: ASYNC110 (read like the bot does, now and then)
            await asyncio.sleep(0.05)
    stop.set()
    await working


if __name__ == "__main__":
    from tests.bench.report import show

    show(asyncio.run(main()))
