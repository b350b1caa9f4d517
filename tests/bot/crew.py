"""Several bots of one application at once, each with shards of its own, over one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.client import FluxBot
from bot.commands import COMMANDS
from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from bot.session import connect_to
from flux_core.bootstrap import job_queue, open_database, studio_of
from flux_core.images.store import PictureStore
from flux_core.service import Studio
from flux_core.settings import Settings
from tests.bot.easel import Easel
from tests.database.new_file import new_file


class Crew:
    """Bots that are started, ended and killed by a test."""

    def __init__(self, sandbox: Sandbox, settings: Settings, studio: Studio, easel: Easel) -> None:
        self.sandbox = sandbox
        self.settings = settings
        self.studio = studio
        self.easel = easel
        self._running: dict[FluxBot, asyncio.Task[None]] = {}

    def begin(self, shards: str = "", count: int = 0) -> FluxBot:
        """Start a bot, and return it at once."""
        settings = self.settings.model_copy(update={"shards": shards, "shard_count": count})
        bot = FluxBot(settings, self.studio, COMMANDS)
        self._running[bot] = asyncio.create_task(bot.start(self.sandbox.token), name=f"bot-{shards}")
        return bot

    async def start(self, shards: str = "", count: int = 0) -> FluxBot:
        """Start a bot and wait until its shards are connected."""
        bot = self.begin(shards, count)
        await self.connected(bot)
        return bot

    async def connected(self, *bots: FluxBot) -> None:
        """Wait until Discord has all shards of these bots."""
        async with asyncio.timeout(20), Person(self.sandbox.base_url) as person:
            while True:
                online = (await person.world())["bot"]["shards"]
                if all([id, bot.shard_count] in online for bot in bots for id in bot.kept_shards or (-1,)):
                    return
                for bot in bots:
                    if self._running[bot].done():
                        self._running[bot].result()
                await asyncio.sleep(0.02)  # the sandbox's world has no event for it

    async def end(self, bot: FluxBot) -> None:
        """Close a bot as an operator would."""
        running = self._running.pop(bot)
        await bot.close()
        running.cancel()  # it may not be connected yet, and would try again for ever
        await asyncio.gather(running, return_exceptions=True)

    async def kill(self, bot: FluxBot) -> None:
        """Let a bot vanish: nothing is delivered any more, and nobody is told that it ends."""
        bot.keeping = None
        for task in (bot._delivery, *bot._loops):
            assert task is not None
            task.cancel()
        bot._delivery = None
        await self.end(bot)

    async def close(self) -> None:
        """End all of them."""
        for bot in list(self._running):
            await self.end(bot)


@asynccontextmanager
async def a_crew(
    sandbox: Sandbox, folder: Path, lease_seconds: float = 30.0, database_url: str | None = None
) -> AsyncIterator[Crew]:
    """Open a house without any bot in it yet."""
    settings = Settings(
        _env_file=None,
        discord_api_base=sandbox.api_base,
        discord_gateway=sandbox.gateway_url,
        discord_cdn=sandbox.cdn_base,
        data_dir=folder,
        flux_tiny_path="tiny",
        lease_seconds=lease_seconds,
        database_url=database_url,
    )
    connect_to(settings)
    if database_url is None:
        new_file(folder / "flux-bot.db")
    async with open_database(settings) as database:
        store = PictureStore(settings.pictures)
        easel = Easel(job_queue(settings, database), store, settings.catalogue)
        await easel.register()
        crew = Crew(sandbox, settings, studio_of(settings, database, store), easel)
        try:
            yield crew
        finally:
            await crew.close()
