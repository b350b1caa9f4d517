"""Two processes of the bot, each with a shard and a server of its own."""

from __future__ import annotations

import asyncio

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, pictures_of
from bot.sandbox.server import Sandbox
from tests.e2e.installation import kill
from tests.sandbox.openapi_check import check, description_path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
MINUTE = 60
DRAWN_WITHIN = 180
"""Seconds: a worker has to start, which takes its time where others want the processor."""


@pytest.fixture
async def sandbox():
    async with Sandbox(guilds=2) as sandbox:
        yield sandbox
        if description_path() is not None:
            check(sandbox.records)


async def ordered(person):
    """Order a picture and return the id of its message."""
    return (await person.response(await person.command("imagine", prompt="a red circle", count=1), MINUTE))["id"]


async def finished(person, message_id):
    return await person.wait_for(lambda m: m["id"] == message_id and "Reroll" in labels_of(m), DRAWN_WITHIN)


async def test_two_bots_share_the_servers_and_one_stands_in_for_the_other(installation, sandbox):
    first, _ = await asyncio.gather(
        installation.bot(shards="0", shard_count=2), installation.bot(shards="1", shard_count=2)
    )
    uploads = [record for record in sandbox.records if record.method == "PUT"]
    assert len(uploads) == 1, "both came at once, and one told Discord the commands"
    assert sandbox.world.limits.identify_seconds == 5.0
    assert not any("invalidated" in installation.log(part) for part in ("bot-0", "bot-1")), "nobody came too early"
    async with Person(sandbox.base_url, "Ada", "studio") as ada, Person(sandbox.base_url, "Linus", "studio-2") as linus:
        orders = {ada: await ordered(ada), linus: await ordered(linus)}
        await kill(first)  # Linus's bot, with his order in the queue
        await installation.scripted()
        for person, message_id in orders.items():
            assert len(pictures_of(await finished(person, message_id))) == 1
            results = [message for message in await person.messages() if "Reroll" in labels_of(message)]
            assert [message["id"] for message in results] == [message_id]
        failed = await linus.outcome(await linus.command("quota"), 10)
        assert failed.state == "failed", "nobody hears of his server now"
        await installation.bot(shards="0", shard_count=2)
        assert pictures_of(await finished(linus, await ordered(linus)))
    assert len([record for record in sandbox.records if record.method == "PUT"]) == 1
