"""Two processes of the bot, each with a shard and a server of its own."""

from __future__ import annotations

import asyncio

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of
from bot.sandbox.server import Sandbox
from tests.sandbox.openapi_check import check, description_path

pytestmark = pytest.mark.e2e
MINUTE = 60


@pytest.fixture
async def sandbox():
    async with Sandbox(guilds=2) as sandbox:
        yield sandbox
        if description_path() is not None:
            check(sandbox.records)


async def drawn(person):
    """Order a picture and return the finished message."""
    first = await person.response(await person.command("imagine", prompt="a red circle", count=1), MINUTE)
    return await person.wait_for(lambda m: m["id"] == first["id"] and "Reroll" in labels_of(m), MINUTE)


async def test_each_bot_answers_its_own_server(installation, sandbox):
    await asyncio.gather(installation.bot(shards="0", shard_count=2), installation.bot(shards="1", shard_count=2))
    await installation.worker()
    async with Person(sandbox.base_url, "Ada", "studio") as ada, Person(sandbox.base_url, "Linus", "studio-2") as linus:
        for person in (ada, linus):
            assert len(pictures_of(await drawn(person))) == 1
