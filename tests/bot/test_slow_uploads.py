"""A delivery belongs to one process for as long as it takes, however slow the line is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from bot import delivery
from bot.posting import Poster
from bot.sandbox.driver import Person
from flux_core.database.tables import jobs
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, delivered, finished


async def test_an_upload_that_outlasts_its_lease_stays_with_whoever_sends_it(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LEASE", 3.0)
    sending, go_on = asyncio.Event(), asyncio.Event()
    send = Poster.send

    async def slowly(self: Poster, way: Any, job: Any, *card: Any) -> int | None:
        if job.state.ended:
            sending.set()
            await go_on.wait()
        return await send(self, way, job, *card)

    monkeypatch.setattr(Poster, "send", slowly)
    card = await ask(ada, prompt="a panorama", count=1)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    async with asyncio.timeout(30):
        await sending.wait()
        until = sa.select(jobs.c.delivery_until).where(jobs.c.id == job.id)
        first = await stage.easel.queue._db.read(lambda connection: connection.execute(until).scalar_one())
        version = None
        while await stage.easel.queue._db.read(lambda connection: connection.execute(until).scalar_one()) == first:
            version = await stage.studio.changed(version, 5.0)
    assert not await stage.studio.claim_delivery(job.id, "another bot", 30.0)
    go_on.set()
    await finished(ada, card["id"])
    await delivered(stage, job.id)
    kept = sa.select(jobs.c.delivery_owner).where(jobs.c.id == job.id)
    assert await stage.easel.queue._db.read(lambda connection: connection.execute(kept).scalar_one()) is None
