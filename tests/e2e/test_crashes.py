"""A power cut at any moment loses nothing, posts nothing twice and charges nothing twice."""

from __future__ import annotations

import pytest

from bot.sandbox.reading import labels_of, pictures_of, text_of
from flux_core.jobs import Account, JobState
from tests.e2e.installation import kill

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
MINUTE = 60
DRAWN_WITHIN = 240
"""Seconds: a worker takes ten to start and ten for the long job, and six times that where others want the processor."""
KIND = {("bot",): "scripted", ("worker",): "scripted", ("bot", "worker"): "worker"}
"""What draws while these are killed: the engine where everything is, which takes ten seconds to start each time."""
PROMPT = "a red circle on a blue background"


async def drawing(person):
    """Start a long job and wait until its first steps are drawn."""
    first = await person.response(await person.command("imagine", prompt=f"{PROMPT} --steps 50 --n 2"), MINUTE)
    await person.wait_for(lambda message: message["id"] == first["id"] and pictures_of(message), DRAWN_WITHIN)
    return first


async def waiting(person):
    """Order pictures that nobody draws yet."""
    await person.command("imagine", prompt=f"{PROMPT} --n 1")
    return await person.wait_for(lambda message: "Cancel" in labels_of(message), MINUTE)


async def results(person):
    """Return every message with a result of ours."""
    return [m for m in await person.messages() if "Reroll" in labels_of(m) and PROMPT in text_of(m)]


async def assert_drawn_once(installation, person):
    async with installation.studio() as studio:
        account = Account(int(installation.sandbox.world.guild_id), int(person.id))
        [job] = await studio.jobs_of(account, active_only=False)
        assert job.state is JobState.SUCCEEDED
        assert job.delivered_at is not None
        quota = await studio.quota(account)
        assert quota.allowance - quota.left == job.cost
    assert len(await results(person)) == 1


@pytest.mark.parametrize("victims", KIND, ids="+".join)
async def test_a_killed_process_loses_no_job(installation, ada, victims):
    start = {"bot": installation.bot, "worker": getattr(installation, KIND[victims])}
    processes = {part: await begin() for part, begin in start.items()}
    first = await drawing(ada)
    for victim in victims:
        await kill(processes[victim])
    for victim in victims:
        await start[victim]()
    card = await ada.wait_for(lambda message: "Reroll" in labels_of(message), DRAWN_WITHIN)
    assert card["id"] == first["id"], "the one message lived through it"
    assert len(pictures_of(card)) == 2
    await assert_drawn_once(installation, ada)
    details = await ada.response(await ada.press(card, "Details"))
    assert PROMPT in text_of(details)


async def test_a_job_that_ended_while_the_bot_was_away_is_posted_after_its_return(installation, ada):
    bot = await installation.bot()
    await waiting(ada)
    await kill(bot)
    await installation.scripted()
    async with installation.studio() as studio:
        version = None
        account = Account(int(installation.sandbox.world.guild_id), int(ada.id))
        while not (await studio.jobs_of(account, active_only=False))[0].state.ended:
            version = await studio.changed(version, 5)
    assert await results(ada) == []
    await installation.bot()
    await ada.wait_for(lambda message: "Reroll" in labels_of(message), DRAWN_WITHIN)
    await assert_drawn_once(installation, ada)


async def test_a_result_finds_its_channel_after_the_token_has_expired(installation, ada):
    await installation.bot()
    await waiting(ada)
    await ada.faults(expire_tokens=True)
    await installation.scripted()
    await ada.wait_for(lambda message: "Reroll" in labels_of(message), DRAWN_WITHIN)
    await assert_drawn_once(installation, ada)


async def test_discord_in_trouble_delays_a_result_and_loses_none(installation, ada):
    await installation.bot()
    await waiting(ada)
    await ada.faults(rest_500=4, rest_429=3, retry_after=0.2)
    await ada.faults(drop_gateway="resume")
    await installation.scripted()
    await ada.wait_for(lambda message: "Reroll" in labels_of(message), DRAWN_WITHIN)
    await assert_drawn_once(installation, ada)
