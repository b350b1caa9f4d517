"""A sandbox, an ordinary discord.py bot in it, and people at its keyboard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import discord
import httpx
import pytest
from yarl import URL

from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits
from tests.sandbox.example_bot import ExampleBot

StartBot = Callable[..., Awaitable[ExampleBot]]


def point_discord_py_at(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the three addresses that a client of the sandbox has to set."""
    monkeypatch.setattr(discord.http.Route, "BASE", sandbox.api_base)
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", URL(sandbox.gateway_url))
    monkeypatch.setattr(discord.Asset, "BASE", sandbox.cdn_base)


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
async def sandbox(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    # Bots of these tests connect as often as they like.
    async with Sandbox(limits=replace(limits, identify_seconds=0)) as running:
        point_discord_py_at(running, monkeypatch)
        yield running


@pytest.fixture
async def start_bot(sandbox: Sandbox) -> AsyncIterator[StartBot]:
    started: list[ExampleBot] = []

    async def start(**options: int) -> ExampleBot:
        bot = ExampleBot(**options)
        started.append(bot)
        await bot.begin(sandbox.token)
        return bot

    yield start
    for bot in started:
        await bot.finish()


@pytest.fixture
async def bot(start_bot: StartBot) -> ExampleBot:
    return await start_bot()


@pytest.fixture
async def ada(sandbox: Sandbox) -> AsyncIterator[Person]:
    async with Person(sandbox.base_url, "Ada") as person:
        yield person


@pytest.fixture
async def linus(sandbox: Sandbox) -> AsyncIterator[Person]:
    async with Person(sandbox.base_url, "Linus") as person:
        yield person


@pytest.fixture
async def grace(sandbox: Sandbox) -> AsyncIterator[Person]:
    async with Person(sandbox.base_url, "Grace") as person:
        yield person


@pytest.fixture
async def rest(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """Raw REST with the bot's token."""
    headers = {"Authorization": f"Bot {sandbox.token}"}
    async with httpx.AsyncClient(base_url=sandbox.api_base, headers=headers, timeout=20) as client:
        yield client
