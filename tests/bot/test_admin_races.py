"""Two moderators at once: each change is made on what holds, once, and told in the audit log once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from bot.sandbox.community import ADA_ID, LINUS_ID, MODERATOR_ROLE_ID, PATRON_ROLE_ID
from bot.sandbox.driver import Person
from flux_core.jobs import Account
from tests.bot.conftest import Stage
from tests.bot.governing import GUILD, answered, decided, log, reply, say
from tests.bot.test_admin_queue import submit


@pytest.fixture
def two(stage: Stage, grace: Person, linus: Person) -> tuple[Person, Person]:
    """Grace and Linus, who run the server both; neither owns the bot."""
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    stage.sandbox.world.community.people[LINUS_ID].role_ids += (MODERATOR_ROLE_ID,)
    return grace, linus


async def noted(stage: Stage) -> Counter[str]:
    return Counter(entry.action for entry in await log(stage))


async def test_both_clear_the_queue(stage: Stage, two: tuple[Person, Person]) -> None:
    for user in range(3):
        await submit(stage, Account(GUILD, 100 + user))
    questions = [await answered(one, "queue clear") for one in two]
    told = await asyncio.gather(
        *(reply(one, question, "Clear the queue") for one, question in zip(two, questions, strict=True))
    )
    assert sorted("3 waiting jobs cancelled" in one for one in told) == [False, True]
    assert sorted("There is no waiting job" in one for one in told) == [False, True]
    assert await noted(stage) == {"queue clear": 1}


async def test_both_make_a_tier_of_the_same_role(stage: Stage, two: tuple[Person, Person]) -> None:
    told = await asyncio.gather(
        *(say(one, "tier add", role=PATRON_ROLE_ID, count=count) for count, one in enumerate(two, 1))
    )
    assert sorted("has a tier already" in one for one in told) == [False, True]
    assert len((await decided(stage)).tiers) == 1
    assert await noted(stage) == {"tier add": 1}


async def test_both_add_rules_and_change_other_things(stage: Stage, two: tuple[Person, Person]) -> None:
    grace, linus = two
    words = [f"word{number}" for number in "abcdef"]
    deeds = [say(two[number % 2], "blocklist add", kind="word", pattern=word) for number, word in enumerate(words)]
    await asyncio.gather(*deeds, say(grace, "quota server", pool=7.0), say(linus, "quota server", cooldown="5s"))
    policy = await decided(stage)
    assert {rule.pattern for rule in policy.prompt_rules} == set(words)
    assert (policy.pool, policy.cooldown_seconds) == (7, 5)
    assert await noted(stage) == {"blocklist add": len(words), "quota server": 2}


async def test_together_they_cannot_deny_every_model(stage: Stage, two: tuple[Person, Person]) -> None:
    models = [spec.id for spec in stage.studio.catalogue]
    told = await asyncio.gather(
        *(say(two[number % 2], "models deny", model=model) for number, model in enumerate(models))
    )
    assert sum("would have no model left" in one for one in told) == 1
    assert len((await decided(stage)).models_denied) == len(models) - 1


async def test_one_bans_and_the_other_lifts_it(stage: Stage, two: tuple[Person, Person]) -> None:
    grace, linus = two
    for _ in range(3):
        await asyncio.gather(say(grace, "ban", member=ADA_ID, duration="7d"), say(linus, "unban", member=ADA_ID))
    last = (await log(stage))[0].action
    ban = await stage.studio.members.ban_of(Account(GUILD, int(ADA_ID)))
    assert (ban is not None) == (last == "ban")


async def test_both_import_a_policy(stage: Stage, two: tuple[Person, Person]) -> None:
    questions = []
    for pool, one in enumerate(two, 1):
        file = await one.upload(json.dumps({"pool": pool}).encode(), "policy.json")
        questions.append(await answered(one, "policy import", file=file))
    told = await asyncio.gather(*(reply(one, question, "Apply") for one, question in zip(two, questions, strict=True)))
    assert sorted("Applied: 1 change" in one for one in told) == [False, True]
    assert sorted("has changed since you were asked" in one for one in told) == [False, True]
    assert await noted(stage) == {"policy import": 1}


async def test_what_one_granted_both_take_back(stage: Stage, two: tuple[Person, Person]) -> None:
    await say(two[0], "quota grant", credits=5.0, member=ADA_ID)
    told = await asyncio.gather(*(say(one, "quota grant", credits=-5.0, member=ADA_ID) for one in two))
    assert sorted("no more can be taken back" in one for one in told) == [False, True]
    assert (await stage.studio.quota(Account(GUILD, int(ADA_ID)))).granted == 0
    assert await noted(stage) == {"quota grant": 2}
