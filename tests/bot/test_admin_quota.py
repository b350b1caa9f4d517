"""/admin quota: limits, credits and resets of members, roles and the server."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bot.sandbox.community import GUILD_ID, PATRON_ROLE_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.policy.guild import Limits, Renewal, Tier
from tests.bot.conftest import Stage
from tests.bot.governing import answered, as_read, decided, log, nothing_changes, offered, open_admin, reply, say
from tests.bot.scenes import account_of, ask, is_private, order, spent

PATRON = int(PATRON_ROLE_ID)


async def test_limits_of_everybody_change_one_by_one(stage: Stage, grace: Person, ada: Person) -> None:
    told = await say(grace, "quota set", credits=40.0, renews="week", at="6:00", timezone="Europe/Berlin", count=2)
    assert "40 credits of allowance, each Monday at 06:00 (Europe/Berlin)" in told
    assert "up to 2 pictures a job" in told
    assert (await decided(stage)).everybody == Limits(
        credits=40, renewal=Renewal(every="week", at="06:00", zone="Europe/Berlin"), max_count=2
    )
    assert "at once here" in text_of(await ask(ada, prompt="a", count=3))
    await say(grace, "quota set", waiting=1)
    assert (await decided(stage)).everybody.max_waiting == 1
    assert (await decided(stage)).everybody.max_count == 2
    await order(stage, ada, prompt="a", count=1)
    assert "1 is the most" in text_of(await ask(ada, prompt="b", count=1))
    told = await say(grace, "quota set", clear=True, weight=2.0)
    assert (await decided(stage)).everybody == Limits(weight=2)
    assert "weight 2" in told
    newest = (await log(stage))[0]
    assert (newest.action, newest.by, newest.facts) == (
        "quota set",
        int(grace.id),
        {"weight": 2.0, "clear": True},
    )


async def test_limits_of_a_member_hold_for_that_member_alone(
    stage: Stage, grace: Person, ada: Person, linus: Person
) -> None:
    told = await say(grace, "quota set", member=ada.id, models="flux-tiny", megapixels=0.5, running=1, credits=2.0)
    assert "set for them alone: 2 credits of allowance" in told
    assert "only `flux-tiny`" in told
    assert "You can use `flux-tiny`" in text_of(await ask(ada, prompt="a", model="flux-dev"))
    await order(stage, linus, prompt="a", model="flux-dev", count=1)
    assert (await stage.studio.quota(account_of(ada))).allowance == 2000
    assert (await log(stage))[0].target == int(ada.id)
    assert "set for them alone" in await say(grace, "quota show", member=ada.id)
    await say(grace, "quota set", member=ada.id, clear=True)
    assert await stage.studio.members.limits(account_of(ada)) == Limits()
    assert "set for them alone" not in await say(grace, "quota show", member=ada.id)


async def test_limits_of_a_role_are_its_tier(stage: Stage, grace: Person, linus: Person) -> None:
    told = await say(grace, "quota set", role=PATRON_ROLE_ID, credits=500.0)
    assert "500 credits of allowance" in told
    await say(grace, "quota set", role=PATRON_ROLE_ID, weight=3.0)
    assert (await decided(stage)).tiers == (Tier(role_id=PATRON, name="Patron", credits=500, weight=3),)
    shown = await say(grace, "quota show", member=linus.id)
    assert "500 credits left" in shown
    assert "tiers: Patron" in shown
    assert "weight 3" in shown
    assert "weight 3" in await say(grace, "quota show", role=PATRON_ROLE_ID)
    assert "1 tier" in await say(grace, "quota show")
    assert "gives nothing of its own" in await say(grace, "quota set", role=PATRON_ROLE_ID, clear=True)
    assert (await decided(stage)).tiers == ()
    assert [entry.facts.get("role") for entry in await log(stage)] == [PATRON_ROLE_ID] * 3


BAD_LIMITS: list[tuple[dict[str, Any], str]] = [
    ({}, "say at least one limit"),
    ({"credits": -1.0}, "0"),
    ({"credits": 1e9}, "1000000"),
    ({"count": 11}, "10"),
    ({"waiting": 0}, "1"),
    ({"megapixels": 0.0}, "0.01"),
    ({"weight": 1000.0}, "100"),
    ({"hours": 12}, "hours are for a rolling allowance alone"),
    ({"renews": "rolling", "at": "06:00"}, "at is not for a rolling allowance"),
    ({"renews": "yearly"}, "choice"),
    ({"at": "25:00"}, "no time of the day such as 06:00"),
    ({"timezone": "Europe/Berlinn"}, "did you mean Europe/Berlin?"),
    ({"models": "sdxl"}, "There is no model “sdxl” here."),
    ({"member": "ADA", "role": PATRON_ROLE_ID, "count": 1}, "name a member or a role, not both"),
    ({"role": GUILD_ID, "count": 1}, "that role is everybody"),
    ({"role": PATRON_ROLE_ID, "clear": True}, "There is no tier for the role “Patron” here"),
    ({"clear": True}, "That is so already."),
    ({"member": "ADA", "clear": True}, "That is so already."),
]


async def test_bad_limits_are_explained_and_change_nothing(stage: Stage, grace: Person, ada: Person) -> None:
    async with nothing_changes(stage):
        for options, sentence in BAD_LIMITS:
            given = {name: ada.id if value == "ADA" else value for name, value in options.items()}
            assert sentence in await say(grace, "quota set", **given), options
        assert "not both" in await say(grace, "quota show", member=ada.id, role=PATRON_ROLE_ID)


async def test_what_all_members_share(stage: Stage, grace: Person, ada: Person) -> None:
    told = await say(grace, "quota server", pool=10.0, cooldown="5m", relaxed=True)
    assert "10 credits of their allowances for all together, 10 credits left" in told
    assert "5 min between two orders of a member" in told
    assert "without credits left, still drawn" in told
    policy = await decided(stage)
    assert (policy.pool, policy.cooldown_seconds, policy.relaxed) == (10, 300, True)
    await order(stage, ada, prompt="a", count=1)
    assert "You can order again" in text_of(await ask(ada, prompt="b"))
    await say(grace, "quota server", cooldown="0s")
    assert (await decided(stage)).pool == 10
    await say(grace, "quota server", clear=True, pool=5.0)
    policy = await decided(stage)
    assert (policy.pool, policy.cooldown_seconds, policy.relaxed) == (5, 0, False)
    assert [entry.action for entry in await log(stage)] == ["quota server"] * 3
    async with nothing_changes(stage):
        for options, sentence in (
            ({}, "say a pool, a cooldown or relaxed"),
            ({"pool": -1.0}, "0"),
            ({"cooldown": "soon"}, "cooldown says “soon”, which I can't read"),
            ({"cooldown": "2d"}, "one day at most"),
            ({"relaxed": False}, "That is so already."),
        ):
            assert sentence in await say(grace, "quota server", **options), options


async def test_granting_to_a_member_and_taking_back(stage: Stage, grace: Person, ada: Person) -> None:
    told = await say(grace, "quota grant", credits=5.5, member=ada.id, reason="a prize")
    assert f"Gave 5.5 credits to <@{ada.id}>. Granted credits now: 5.5 credits; " in told
    told = await say(grace, "quota grant", credits=2.0, member=ada.id, expires="7d")
    assert ">, until <t:" in told
    held = await stage.studio.quota(account_of(ada))
    assert (held.granted, [amount for amount, _ in held.expiring]) == (7500, [2000])
    assert "7.5 credits granted, of these 2 credits until" in await say(grace, "quota show", member=ada.id)
    told = await say(grace, "quota grant", credits=-3.0, member=ada.id)
    assert f"Took 3 credits back from <@{ada.id}>" in told
    held = await stage.studio.quota(account_of(ada))
    assert (held.granted, held.expiring) == (4500, ())
    entry = (await log(stage))[-1]
    assert (entry.action, entry.target) == ("quota grant", int(ada.id))
    assert entry.facts == {"millicredits": 5500, "reason": "a prize"}


async def test_a_slow_database_makes_nobody_grant_twice(
    stage: Stage, grace: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant, go_on = stage.studio.members.grant, asyncio.Event()

    async def slow(*given: Any, **more: Any) -> Any:
        await go_on.wait()
        return await grant(*given, **more)

    monkeypatch.setattr(stage.studio.members, "grant", slow)
    given = await grace.command("admin quota grant", {"credits": 5.0, "member": ada.id})
    assert (await grace.outcome(given)).state == "acknowledged"
    go_on.set()
    told = await grace.wait_for(lambda m: is_private(m) and "Gave 5 credits" in text_of(m))
    assert "5 credits" in text_of(told)
    assert (await stage.studio.quota(account_of(ada))).granted == 5000


ODD_GRANTS: list[tuple[dict[str, Any], str]] = [
    ({"credits": -50.0}, "has 5 credits left of what was granted; no more can be taken back."),
    ({"credits": 0.0}, "that gives nothing: 0.001 credits is the least"),
    ({"credits": 0.0001}, "that gives nothing"),
    ({"credits": 1e9}, "100000"),
    ({"credits": -1.0, "expires": "7d"}, "from one member at a time, and at once"),
    ({"credits": 1.0, "expires": "2020-01-01"}, "over already"),
    ({"credits": 1.0, "expires": "soon"}, "write it like 7d, 2w or 2026-12-31"),
    ({"credits": 1.0, "reason": "r" * 201}, "must be 1 to 200 characters"),
    ({"credits": 1.0, "server": True}, "one of member, role, and server: True"),
    ({"credits": 1.0, "member": None}, "one of member, role, and server: True"),
    ({"credits": -1.0, "member": None, "server": True}, "from one member at a time"),
    ({"credits": 1.0, "member": None, "server": True}, "There is no member who has drawn here"),
    ({"credits": 1.0, "member": None, "role": PATRON_ROLE_ID}, "There is no member with this role who has drawn"),
]


async def test_odd_grants_are_explained_and_change_nothing(stage: Stage, grace: Person, ada: Person) -> None:
    await stage.studio.members.grant(account_of(ada), 5000, by=1, reason="")
    async with nothing_changes(stage):
        for options, sentence in ODD_GRANTS:
            given = {name: value for name, value in ({"member": ada.id} | options).items() if value is not None}
            assert sentence in await say(grace, "quota grant", **given), options


async def test_granting_to_a_role_and_to_everybody_reaches_those_who_have_drawn(
    stage: Stage, grace: Person, ada: Person, linus: Person
) -> None:
    for person in (ada, linus):
        await order(stage, person, prompt="a", count=1)
    question = await answered(grace, "quota grant", credits=3.0, role=PATRON_ROLE_ID, expires="2w")
    to_patrons = f"3 credits each to 1 member who had <@&{PATRON_ROLE_ID}> when they ordered last, until <t:"
    assert f"Give {to_patrons}" in as_read(question)
    async with nothing_changes(stage):
        assert "Nothing was changed." in await reply(grace, question, "Keep as it is")
    question = await answered(grace, "quota grant", credits=3.0, role=PATRON_ROLE_ID, expires="2w")
    assert f"Gave {to_patrons}" in await reply(grace, question, "Give")
    for whom in ({"server": True}, {"role": GUILD_ID}):
        question = await answered(grace, "quota grant", credits=1.0, **whom)
        assert "Gave 1 credit each to 2 members." in await reply(grace, question, "Give")
    granted = [(await stage.studio.quota(account_of(one))).granted for one in (ada, linus, grace)]
    assert granted == [2000, 5000, 0]


async def test_a_date_ends_where_the_server_is(stage: Stage, grace: Person, ada: Person) -> None:
    await say(grace, "quota set", timezone="Pacific/Auckland")
    day = datetime.now(ZoneInfo("Pacific/Auckland")).date() + timedelta(days=9)
    end = datetime.combine(day + timedelta(days=1), time.min, ZoneInfo("Pacific/Auckland"))
    told = await say(grace, "quota grant", credits=2.0, member=ada.id, expires=day.isoformat())
    assert f"until <t:{end.timestamp():.0f}:f>" in told


async def test_resets(stage: Stage, grace: Person, ada: Person, linus: Person) -> None:
    for person in (ada, linus):
        await order(stage, person, prompt="a", count=1)
    async with nothing_changes(stage):
        assert "spent on jobs that have ended" in await say(grace, "quota reset", member=ada.id)
    for _ in (ada, linus):
        await stage.easel.finish(await stage.easel.take())
    cost = await spent(stage, ada)
    assert cost > 0
    told = await say(grace, "quota reset", member=ada.id)
    assert f"back to <@{ada.id}>: this period's allowance is full again, apart from what is reserved" in told
    assert (await spent(stage, ada), await spent(stage, linus)) == (0, cost)
    async with nothing_changes(stage):
        assert "spent on jobs that have ended" in await say(grace, "quota reset", member=ada.id)
        assert "one of member, role, and server" in await say(grace, "quota reset")
        assert "one of member, role, and server" in await say(grace, "quota reset", member=ada.id, server=True)
        question = await answered(grace, "quota reset", role=PATRON_ROLE_ID)
        assert f"Give back to everybody with <@&{PATRON_ROLE_ID}> who has drawn here" in text_of(question)
        assert "Nothing was changed." in await reply(grace, question, "Keep as it is")
    question = await answered(grace, "quota reset", role=PATRON_ROLE_ID)
    told = await reply(grace, question, "Reset")
    assert (
        f"The allowance of 1 member who had <@&{PATRON_ROLE_ID}> when they ordered last is full again, apart from"
        in told
    )
    assert await spent(stage, linus) == 0
    question = await answered(grace, "quota reset", server=True)
    async with nothing_changes(stage):
        assert "none of them has spent anything" in await reply(grace, question, "Reset")
    assert labels_of(question) == ["Reset", "Keep as it is"]
    assert [entry.facts.get("members") for entry in await log(stage)] == [1, None]


async def test_a_member_without_the_right_sees_and_changes_nothing(stage: Stage, ada: Person) -> None:
    open_admin(stage)
    async with nothing_changes(stage):
        for command, options in (
            ("quota show", {}),
            ("quota set", {"count": 10}),
            ("quota server", {"pool": 1.0}),
            ("quota grant", {"credits": 5.0, "member": ada.id}),
            ("quota reset", {"member": ada.id}),
            ("quota reset", {"server": True}),
        ):
            assert "Manage Server" in await say(ada, command, **options), command
        for command, option in (
            ("quota set", "timezone"),
            ("quota set", "models"),
            ("quota grant", "expires"),
            ("quota server", "cooldown"),
        ):
            assert await offered(ada, command, option) == [], (command, option)


async def test_what_is_offered_while_typing(stage: Stage, grace: Person) -> None:
    assert ("Europe/Berlin", "Europe/Berlin") in await offered(grace, "quota set", "timezone", "berl")
    assert len(await offered(grace, "quota set", "timezone")) == 25
    assert [value for _, value in await offered(grace, "quota set", "models")] == [
        "all",
        *(spec.id for spec in stage.studio.catalogue),
    ]
    assert await offered(grace, "quota set", "models", "flux-dev, tin") == [("flux-dev, flux-tiny",) * 2]
    assert await offered(grace, "quota grant", "expires", "7") == [("7d", "7d")]
    assert await offered(grace, "quota server", "cooldown", "5") == [("5m", "5m")]
