"""A real worker beside the real bot, drawing by script from the same database and store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.sandbox.driver import Person
from flux_core.jobs import Job
from flux_core.providers.scripted import ScriptedProvider
from flux_core.worker.worker import Worker
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of


@asynccontextmanager
async def working(stage: Stage, *, step_seconds: float = 0.2) -> AsyncIterator[asyncio.Task[None]]:
    """Have a worker draw until the end of the block; it has to live until then."""
    stop = asyncio.Event()
    provider = ScriptedProvider(stage.settings.catalogue, step_seconds=step_seconds)
    worker = Worker(
        stage.easel.queue,
        stage.easel.store,
        provider,
        worker_id="worker",
        changed=stage.studio.changed,
        lease_seconds=stage.easel.queue.lease_seconds,
    )
    running = asyncio.create_task(worker.run(stop), name="worker")
    try:
        yield running
        assert not running.done(), "the worker gave up"
    finally:
        stop.set()
        async with asyncio.timeout(60):
            await running


async def only_job(stage: Stage, person: Person) -> Job:
    """Return the one job that a member ever ordered."""
    [job] = await stage.studio.jobs_of(account_of(person), active_only=False)
    return job
