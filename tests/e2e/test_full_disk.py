"""The disk is full for the bot and its worker: neither database nor pictures can be written, and then they can again.

A limit on the size of files stands for it: whatever a process writes fails, for the database's log as for a picture.
It can be set on a process that runs, and lifted, without any privilege.
"""

from __future__ import annotations

import asyncio
import os
import resource
from asyncio.subprocess import Process
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bot.sandbox.reading import labels_of, pictures_of, text_of
from flux_core.images.store import PictureStore
from flux_core.jobs import Account, JobState
from tests.bot.scenes import is_private

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
LONG = 240
OUTAGE = float(os.environ.get("OUTAGE_SECONDS", "2.5"))
"""A minute in ``make soak``: OUTAGE_SECONDS=60 pytest --timeout 600."""


@contextmanager
def disk_full(*processes: Process) -> Iterator[None]:
    """Have everything fail meanwhile that these processes write into files."""
    for process in processes:
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        for process in processes:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture
async def worker(installation):
    """A worker that draws by script, a tenth of a second a step."""
    return await installation.scripted()


async def test_a_full_disk_refuses_orders_and_loses_nothing(installation, ada, linus, worker):
    bot = await installation.bot()
    card = await ada.response(await ada.command("imagine", prompt="a red circle --n 1 --steps 20"), LONG)
    await ada.wait_for(lambda m: m["id"] == card["id"] and "step" in text_of(m), LONG)
    with disk_full(bot, worker):
        await linus.command("imagine", prompt="a blue square --n 1")
        await linus.wait_for(lambda m: is_private(m) and "Nothing was charged" in text_of(m), LONG)
        await asyncio.sleep(OUTAGE)  # the drawing ends, and nothing of it can be written
        assert [m for m in await ada.messages() if "Reroll" in labels_of(m)] == []
    result = await ada.wait_for(lambda m: m["id"] == card["id"] and "Reroll" in labels_of(m), LONG)
    assert len(pictures_of(result)) == 1
    assert (bot.returncode, worker.returncode) == (None, None), "both live through it"
    later = await linus.response(await linus.command("imagine", prompt="a blue square --n 1"), LONG)
    await linus.wait_for(lambda m: m["id"] == later["id"] and "Reroll" in labels_of(m), LONG)
    async with installation.studio() as studio:
        for person in (ada, linus):
            account = Account(int(installation.sandbox.world.guild_id), int(person.id))
            [job] = await studio.jobs_of(account, active_only=False)
            assert job.state is JobState.SUCCEEDED
            assert (await studio.quota(account)).spent == job.cost
        # Nothing is half written, and nothing lies there that nobody knows of.
        folder = PictureStore(installation.settings.pictures)
        known = {picture.key for one in await studio.live_jobs() for picture in await studio.pictures(one.job.id)}
        stored = await folder.list("pictures")
        assert len(stored) == 2
        assert all(one.size > 0 for one in stored)
        assert known <= {one.key for one in stored}
        assert not list((installation.data_dir / "pictures").rglob("*#*"))
