"""/admin tier: what roles give."""

from __future__ import annotations

from typing import Any

from bot.sandbox.community import GUILD_ID, MODERATOR_ROLE_ID, PATRON_ROLE_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.policy.guild import Renewal, Tier
from tests.bot.conftest import Stage
from tests.bot.governing import GUILD, answered, as_read, decided, log, nothing_changes, offered, open_admin, say
from tests.bot.scenes import account_of, ask, order

PATRON = int(PATRON_ROLE_ID)


async def test_a_tier_is_made_changed_and_taken_out(stage: Stage, grace: Person, ada: Person, linus: Person) -> None:
    await stage.studio.policies.change(
        GUILD,
        lambda before: before.model_copy(
            update={"everybody": before.everybody.model_copy(update={"max_count": 1, "models": ("flux-tiny",)})}
        ),
        by=1,
        action="quota set",
    )
    told = await say(grace, "tier add", role=PATRON_ROLE_ID, credits=4000.0, renews="month", count=4, models="flux-dev")
    for part in (
        f"<@&{PATRON_ROLE_ID}> (Patron)",
        "4,000 credits",
        "on the first of each month at 00:00",
        "`flux-dev`",
    ):
        assert part in told
    await order(stage, linus, prompt="a", count=4)
    assert "up to 1 at once" in text_of(await ask(ada, prompt="a", count=2))
    await order(stage, linus, prompt="a", model="flux-dev", count=1)
    assert (await stage.studio.quota(account_of(linus), {PATRON})).allowance == 4_000_000
    told = await say(grace, "tier edit", tier=PATRON_ROLE_ID, at="7:30", weight=2.0)
    assert "at 07:30" in told
    assert (await decided(stage)).tiers == (
        Tier(
            role_id=PATRON,
            name="Patron",
            credits=4000,
            renewal=Renewal(every="month", at="07:30"),
            max_count=4,
            models=("flux-dev",),
            weight=2,
        ),
    )
    await say(grace, "tier edit", tier="patron", running=5, clear=True)
    assert (await decided(stage)).tiers == (Tier(role_id=PATRON, name="Patron", max_running=5),)
    assert "Patron): at most 5 drawn" in (await say(grace, "tier show")).replace("*", "")
    assert f"<@&{PATRON_ROLE_ID}> (Patron) is no tier any more." in await say(grace, "tier remove", tier="Patron")
    assert (await decided(stage)).tiers == ()
    assert "There are none" in await say(grace, "tier show")
    assert [entry.action for entry in await log(stage)][:4] == ["tier remove", "tier edit", "tier edit", "tier add"]
    assert all(entry.facts["role"] == PATRON_ROLE_ID for entry in (await log(stage))[:4])


async def test_bad_tiers_are_explained_and_change_nothing(stage: Stage, grace: Person) -> None:
    await say(grace, "tier add", role=PATRON_ROLE_ID, count=4)
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("tier add", {"role": PATRON_ROLE_ID, "count": 5}, "has a tier already, which `/admin tier edit` changes"),
        ("tier add", {"role": MODERATOR_ROLE_ID}, "say at least one limit"),
        ("tier add", {"role": GUILD_ID, "count": 4}, "that role is everybody"),
        ("tier add", {"role": MODERATOR_ROLE_ID, "count": 11}, "10"),
        ("tier add", {"role": MODERATOR_ROLE_ID, "models": "sdxl"}, "There is no model “sdxl” here"),
        ("tier add", {"role": MODERATOR_ROLE_ID, "at": "late"}, "no time of the day"),
        ("tier add", {"role": MODERATOR_ROLE_ID, "hours": 3}, "for a rolling allowance alone"),
        ("tier edit", {"tier": "Patron"}, "say at least one limit"),
        ("tier edit", {"tier": "Patron", "clear": True}, "say at least one limit"),
        ("tier edit", {"tier": "Nobody", "count": 1}, "There is no tier “Nobody” here, so nothing was changed."),
        ("tier edit", {"tier": "Patron", "count": 4}, "That is so already."),
        ("tier edit", {"tier": "Patron", "timezone": "Moon"}, "no time zone"),
        ("tier remove", {"tier": MODERATOR_ROLE_ID}, "There is no tier"),
        ("tier remove", {"tier": "*" * 100}, "There is no tier"),
    ]
    async with nothing_changes(stage):
        for command, options, sentence in bad:
            assert sentence in await say(grace, command, **options), (command, options)


async def test_many_tiers_are_shown_in_pages_and_there_is_an_end(stage: Stage, grace: Person, ada: Person) -> None:
    tiers = tuple(Tier(role_id=100 + n, name=f"Tier {n}", max_count=1) for n in range(50))
    await stage.studio.policies.change(
        GUILD, lambda before: before.model_copy(update={"tiers": tiers}), by=1, action="policy import"
    )
    page = await answered(grace, "tier show")
    assert "(Tier 9)" in as_read(page)
    assert "(Tier 10)" not in as_read(page)
    assert labels_of(page) == ["More"]
    await grace.press(page, "More")
    page = await grace.wait_for(lambda m: m["id"] == page["id"] and "Tier 10" in text_of(m))
    assert "11 to 20 of 50" in as_read(page)
    assert labels_of(page) == ["Back", "More"]
    async with nothing_changes(stage):
        assert "at most 50" in await say(grace, "tier add", role=PATRON_ROLE_ID, count=1)
    assert len(await offered(grace, "tier edit", "tier")) == 25
    assert await offered(grace, "tier remove", "tier", "TIER 49") == [("Tier 49", "149")]


async def test_a_member_without_the_right_sees_and_changes_nothing(stage: Stage, grace: Person, ada: Person) -> None:
    await say(grace, "tier add", role=PATRON_ROLE_ID, count=4)
    open_admin(stage)
    async with nothing_changes(stage):
        for command, options in (
            ("tier show", {}),
            ("tier add", {"role": PATRON_ROLE_ID, "count": 10}),
            ("tier edit", {"tier": "Patron", "count": 10}),
            ("tier remove", {"tier": "Patron"}),
        ):
            assert "Manage Server" in await say(ada, command, **options), command
        assert await offered(ada, "tier edit", "tier") == await offered(ada, "tier remove", "tier") == []
        assert await offered(ada, "tier edit", "timezone", tier="Patron") == []
    assert await offered(grace, "tier edit", "tier") == [("Patron", PATRON_ROLE_ID)]
    assert await offered(grace, "tier add", "timezone", "lisbon") == [("Europe/Lisbon",) * 2]
    assert await offered(grace, "tier add", "models", "sch") == [("flux-schnell",) * 2]
    assert await offered(grace, "tier edit", "models", "sch", tier="Patron") == [("flux-schnell",) * 2]
