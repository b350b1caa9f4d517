"""Programs of two versions on one database: the old one goes on and can be restarted, until its time is over."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of
from bot.sandbox.server import Sandbox
from flux_core.bootstrap import open_database, open_studio
from flux_core.database.tables import jobs
from flux_core.errors import ConfigurationError
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Job, JobState, Origin
from flux_core.service import Studio, Submission
from flux_core.settings import Settings, child_environment
from flux_core.tiny.definition import WEIGHTS
from tests.database.postgres import new_database
from tests.e2e.installation import Installation, kill
from tests.e2e.next_version import ROOT, contracted, expanded, revision_after

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
STARTED_WITHIN = 180
"""Seconds for what takes a few: processes start slowly where others want the processor."""
BOT = ("bot", "bot")
WORKER = ("tests.worker.scripted_worker", "0.01")
Process = asyncio.subprocess.Process


class Versions:
    """Starts this version and those to come over one data folder."""

    def __init__(self, sandbox: Sandbox, folder: Path, **settings: str) -> None:
        own = Installation(sandbox, folder, **settings)
        self.settings: Settings = own.settings
        words = {
            name.upper(): value
            for name, value in own.settings.model_dump(include=own.settings.model_fields_set).items()
        }
        self._environment = {**words, "DISCORD_TOKEN": sandbox.token, "FLUX_TINY_PATH": str(WEIGHTS)}
        self._said = folder / "all.log"
        self._processes: list[Process] = []

    async def start(self, version: Path, module: tuple[str, ...]) -> Process:
        """Start ``python -m`` with these words, as ``version`` has them."""
        environment = child_environment(**{name: str(value) for name, value in self._environment.items()})
        environment["PYTHONPATH"] = f"{version}{os.pathsep}{ROOT}"
        with self._said.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *module, env=environment, cwd=version, stdout=said, stderr=said
            )
        self._processes.append(process)
        return process

    async def upgrade(self, version: Path) -> None:
        """Bring the database to a version."""
        assert await (await self.start(version, ("bot", "db", "upgrade"))).wait() == 0, self.log

    async def ended(self, process: Process) -> None:
        """See that a process ends with the sentence that its time is over."""
        async with asyncio.timeout(STARTED_WITHIN):
            await process.wait()
        # The scripted worker is no command of flux-bot's, which would say it without a traceback.
        assert process.returncode in (1, 2), self.log
        assert f"needs flux-bot of revision {revision_after(2)} or newer" in " ".join(self.log.split())

    @property
    def log(self) -> str:
        """What all of them have said."""
        return self._said.read_text()

    async def close(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.returncode is None:
                await kill(process)


@pytest.fixture
async def on_a_server(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Versions]:
    versions = Versions(sandbox, tmp_path, DATABASE_URL=await new_database())
    yield versions
    await versions.close()


@pytest.fixture
async def on_a_file(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Versions]:
    versions = Versions(sandbox, tmp_path)
    yield versions
    await versions.close()


async def drawn(person: Person, words: str) -> None:
    """Order a picture and wait for it."""
    first = await person.response(await person.command("imagine", prompt=words, count=1), STARTED_WITHIN)
    await person.wait_for(
        lambda m: m["id"] == first["id"] and "Reroll" in labels_of(m) and pictures_of(m), STARTED_WITHIN
    )


async def until_online(person: Person, bot: Process, versions: Versions, *, online: bool = True) -> None:
    """Wait until Discord has a bot, or has lost it."""
    async with asyncio.timeout(STARTED_WITHIN):
        while ((await person.world())["bot"]["online"] and bool(await person.registered())) is not online:
            assert not online or bot.returncode is None, versions.log
            await asyncio.sleep(0.05)


async def orders_with_moods(settings: Settings) -> int:
    """Return how many orders say something that only the newer version knows."""
    async with open_database(settings) as db:
        wishes = await db.read(lambda connection: list(connection.execute(sa.select(jobs.c.request)).scalars()))
    return sum("mood" in json.loads(wish) for wish in wishes)


async def test_bot_and_workers_are_replaced_one_after_the_other(
    on_a_server: Versions, ada: Person, tmp_path: Path
) -> None:
    versions = on_a_server
    bot, worker = await versions.start(ROOT, BOT), await versions.start(ROOT, WORKER)
    new = expanded(tmp_path / "new")
    await until_online(ada, bot, versions)
    await versions.upgrade(new)
    await drawn(ada, "a new database under the old bot and the old worker")
    await asyncio.gather(kill(bot), kill(worker))
    await until_online(ada, bot, versions, online=False)
    bot, worker = await versions.start(ROOT, BOT), await versions.start(ROOT, WORKER)
    await until_online(ada, bot, versions)
    await drawn(ada, "both were restarted as they were")
    assert await orders_with_moods(versions.settings) == 0
    await kill(bot)
    await until_online(ada, bot, versions, online=False)
    bot = await versions.start(new, BOT)
    await until_online(ada, bot, versions)
    await drawn(ada, "the new bot and the old worker")
    assert await orders_with_moods(versions.settings) == 1

    await versions.upgrade(contracted(new, tmp_path / "newest"))
    await asyncio.gather(versions.ended(bot), versions.ended(worker))


async def finished(studio: Studio, settings: Settings, words: str) -> Job:
    """Submit a job as the bot would, and wait for its end."""
    request = resolve(RequestOptions(prompt=words, count=1), settings.catalogue)
    job = await studio.submit(Submission(account=Account(7, 1), request=request, origin=Origin.IMAGINE))
    seen = None
    async with asyncio.timeout(STARTED_WITHIN):
        while not (job := await studio.job(job.id)).state.ended:
            seen = await studio.changed(seen, 1.0)
    return job


async def test_a_file_is_shared_by_two_versions_too(on_a_file: Versions, tmp_path: Path) -> None:
    versions, settings = on_a_file, on_a_file.settings
    new = expanded(tmp_path / "new")
    async with open_studio(settings) as studio:
        worker = await versions.start(ROOT, WORKER)
        assert (await finished(studio, settings, "alone")).state is JobState.SUCCEEDED
        await versions.upgrade(new)
        assert (await finished(studio, settings, "on the new database")).state is JobState.SUCCEEDED
        await kill(worker)
        await versions.start(new, WORKER)
        assert (await finished(studio, settings, "by the new worker")).state is JobState.SUCCEEDED
    worker = await versions.start(ROOT, WORKER)
    async with open_studio(settings) as studio:
        assert (await finished(studio, settings, "after a restart")).state is JobState.SUCCEEDED
        await versions.upgrade(contracted(new, tmp_path / "newest"))
        with pytest.raises(ConfigurationError, match=revision_after(2)):
            await asyncio.wait_for(studio.until_outgrown(), STARTED_WITHIN)
        await versions.ended(worker)
    with pytest.raises(ConfigurationError, match=revision_after(2)):
        async with open_studio(settings):
            pass
    refused = await versions.start(ROOT, ("bot", "db", "check"))
    await versions.ended(refused)
    assert refused.returncode == 2
