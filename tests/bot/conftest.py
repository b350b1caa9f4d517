"""The real bot in a sandbox, with the real studio on a database of its own; only drawing is in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest
from discord.gateway import DiscordWebSocket

from bot.client import FluxBot
from bot.commands import COMMANDS
from bot.connection import session_starts
from bot.connection.in_hand import HANDLERS
from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from bot.session import connect_to
from flux_core.bootstrap import job_queue, open_database, studio_of
from flux_core.images.store import PictureStore
from flux_core.service import Studio
from flux_core.settings import Settings
from tests.bot.easel import Easel
from tests.database.new_file import new_file
from tests.sandbox.openapi_check import check, description_path


class Stage:
    """A sandbox with a bot that can be stopped and started again."""

    def __init__(self, sandbox: Sandbox, settings: Settings, studio: Studio, easel: Easel) -> None:
        self.sandbox = sandbox
        self.settings = settings
        self.studio = studio
        self.easel = easel
        self.bot: FluxBot | None = None
        self._running: asyncio.Task[None] | None = None

    async def start_bot(self) -> FluxBot:
        """Log in and wait until the gateway is there; discord.py's ready comes two seconds later and is not needed."""
        bot = self.bot = FluxBot(self.settings, self.studio, COMMANDS)
        self._running = asyncio.create_task(bot.start(self.sandbox.token), name="bot")
        connected = asyncio.create_task(_connected(bot))
        await asyncio.wait({connected, self._running}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()
        assert connected.done()
        return bot

    async def stop_bot(self) -> None:
        """Close the bot as an operator would."""
        if self.bot is not None and self._running is not None:
            await self.bot.close()
            await asyncio.gather(self._running, return_exceptions=True)
            self.bot = self._running = None

    async def kill_bot(self) -> None:
        """Let the bot vanish without a word to anybody: nothing that was begun is ended, nothing is written."""
        assert self.bot is not None
        if self.bot._delivery is not None:
            delivery, self.bot._delivery = self.bot._delivery, None
            for task in asyncio.all_tasks():
                if task is delivery or task.get_name().startswith(("deliver-", "progress-", "delivery-", *HANDLERS)):
                    task.cancel()
        await self.stop_bot()

    def person(self, name: str, channel: str = "studio") -> Person:
        """Return a member at the keyboard, to be used as an async context manager."""
        return Person(self.sandbox.base_url, name, channel)


async def _connected(bot: FluxBot) -> None:
    event = asyncio.Event()

    async def on_shard_connect(_: int) -> None:
        event.set()

    bot.event(on_shard_connect)
    await event.wait()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let discord.py repeat at once what Discord failed to do, as often as ever; it waits 1, 3, 5, 7 and 9 seconds.

    What it waits after rate limits, which Discord names as a fraction of seconds, stays as it is.
    """

    async def sleep(seconds: float, result: Any = None) -> Any:
        return await asyncio.sleep(0.01 if isinstance(seconds, int) else seconds, result)

    quick = SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    for module in (discord.http, discord.webhook.async_):
        monkeypatch.setattr(module, "asyncio", quick)


@pytest.fixture
def limits() -> Limits:
    return Limits(rate_limits=True)


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that a test wants otherwise."""
    return {}


@pytest.fixture
async def stage(
    tmp_path: Path, limits: Limits, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    # Whatever connect_to sets for the whole process is put back after the test.
    monkeypatch.setattr(discord.http.Route, "BASE", discord.http.Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    monkeypatch.setattr(discord.asset.Asset, "BASE", discord.asset.Asset.BASE)
    # A bot that is started again need not wait for the turn of the one before; test_shards.py is about that.
    monkeypatch.setattr(session_starts, "TURN", 0.0)
    async with Sandbox(limits=replace(limits, identify_seconds=0)) as sandbox:
        settings = Settings(
            _env_file=None,
            discord_api_base=sandbox.api_base,
            discord_gateway=sandbox.gateway_url,
            discord_cdn=sandbox.cdn_base,
            data_dir=tmp_path,
            flux_tiny_path="tiny",
            flux_schnell_path="schnell",
            flux_dev_path="dev",
            default_model="flux-tiny",
            **overrides,
        )
        connect_to(settings)
        if settings.database_url is None:
            new_file(tmp_path / "flux-bot.db")
        async with open_database(settings) as database:
            store = PictureStore(settings.pictures)
            studio = studio_of(settings, database, store)
            easel = Easel(job_queue(settings, database), store, settings.catalogue)
            await easel.register()
            stage = Stage(sandbox, settings, studio, easel)
            await stage.start_bot()
            yield stage
            await stage.stop_bot()
        # Whatever the test was about, every request of the bot has to be one that Discord describes.
        if description_path() is not None:
            check(sandbox.records)


@pytest.fixture
async def ada(stage: Stage) -> AsyncIterator[Person]:
    async with stage.person("Ada") as person:
        yield person


@pytest.fixture
async def linus(stage: Stage) -> AsyncIterator[Person]:
    async with stage.person("Linus") as person:
        yield person


@pytest.fixture
async def grace(stage: Stage) -> AsyncIterator[Person]:
    """The moderator, who also owns the application."""
    async with stage.person("Grace") as person:
        yield person
