"""/admin ban, unban, bans: who may not draw here for a while."""

from __future__ import annotations

import time
from typing import Any

from bot.sandbox.driver import Person
from bot.sandbox.reading import labels_of, text_of
from flux_core.jobs import Account
from tests.bot.conftest import Stage
from tests.bot.governing import GUILD, answered, as_read, log, nothing_changes, offered, open_admin, say
from tests.bot.scenes import account_of, ask, order


async def test_a_banned_member_reads_why_and_until_when_and_draws_again_after_it(
    stage: Stage, grace: Person, ada: Person, linus: Person
) -> None:
    await order(stage, ada, prompt="early", count=1)
    told = await say(grace, "ban", member=ada.id, duration="7d", reason="*flooding*")
    assert f"<@{ada.id}> cannot draw in this server until <t:" in told
    assert "They read: “*flooding*”" in told
    assert "They still have 1 job in the queue: `/admin queue cancel`." in told
    ban = await stage.studio.members.ban_of(account_of(ada))
    assert ban is not None
    assert ban.until is not None
    assert 0 <= time.time() + 7 * 86_400 - ban.until < 60
    refusal = await ask(ada, prompt="a")
    assert "The moderators do not let you draw in this server until <t:" in as_read(refusal)
    assert "“*flooding*”" in as_read(refusal)
    await ask(linus, prompt="a")
    assert "banned until <t:" in await say(grace, "quota show", member=ada.id)
    assert f"<@{ada.id}> can draw in this server again." in await say(grace, "unban", member=ada.id)
    await order(stage, ada, prompt="again", count=1)
    entries = await log(stage)
    assert [(entry.action, entry.target) for entry in entries] == [("unban", int(ada.id)), ("ban", int(ada.id))]
    assert entries[1].facts == {"reason": "*flooding*", "until": ban.until}


async def test_a_ban_without_duration_lasts_until_it_is_lifted_and_can_be_made_shorter(
    stage: Stage, grace: Person, linus: Person
) -> None:
    assert "until `/admin unban`." in await say(grace, "ban", member=linus.id)
    refusal = text_of(await ask(linus, prompt="a"))
    assert refusal == "The moderators do not let you draw in this server."
    await say(grace, "ban", member=linus.id, duration="30m", reason="once more")
    found, total = await stage.studio.members.bans(GUILD)
    assert total == 1
    assert found[0].until is not None
    assert found[0].reason == "once more"


async def test_bad_bans_are_explained_and_change_nothing(stage: Stage, grace: Person, ada: Person) -> None:
    assert stage.bot is not None
    owner, bot = grace.id, str(stage.bot.application_id)
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("ban", {"member": grace.id}, "you cannot ban yourself"),
        ("ban", {"member": bot}, "bots do not draw"),
        ("ban", {"member": ada.id, "duration": "a while"}, "which I can't read: write it like 30m"),
        ("ban", {"member": ada.id, "duration": "0m"}, "at least 1 minute"),
        ("ban", {"member": ada.id, "duration": "5000d"}, "ten years at most"),
        ("ban", {"member": ada.id, "reason": "r" * 201}, "must be 1 to 200 characters"),
        ("unban", {"member": ada.id}, "There is no ban of this member here, so nothing was changed."),
    ]
    async with nothing_changes(stage):
        for command, options, sentence in bad:
            assert sentence in await say(grace, command, **options), (command, options)
    # Another moderator cannot ban the bot's owner.
    moderator = next(iter(stage.sandbox.world.community.people.values()))
    assert moderator.user.id == ada.id
    moderator.role_ids = stage.sandbox.world.community.people[owner].role_ids
    async with nothing_changes(stage):
        assert "the bot's owner cannot be banned" in await say(ada, "ban", member=owner)


async def test_bans_are_listed_in_pages(stage: Stage, grace: Person) -> None:
    assert "Nobody is banned from drawing here." in await say(grace, "bans")
    for user in range(1, 22):
        await stage.studio.members.ban(Account(GUILD, user), by=int(grace.id), reason="r" * 200, until=None)
    page = await answered(grace, "bans")
    assert f"<@21> until it is lifted (by <@{grace.id}>, <t:" in as_read(page)
    assert as_read(page).count(f": “{'r' * 200}”") == 10
    assert "1 to 10 of 21" in as_read(page)
    assert labels_of(page) == ["More"]
    await grace.press(page, "More")
    page = await grace.wait_for(lambda m: m["id"] == page["id"] and "<@11>" in text_of(m))
    assert labels_of(page) == ["Back", "More"]
    # The list becomes shorter meanwhile: its last page is shown.
    for user in range(1, 13):
        await stage.studio.members.unban(Account(GUILD, user), by=int(grace.id))
    await grace.press(page, "More")
    page = await grace.wait_for(lambda m: m["id"] == page["id"] and "<@21>" in text_of(m))
    assert labels_of(page) == []


async def test_a_member_without_the_right_sees_and_changes_nothing(stage: Stage, grace: Person, ada: Person) -> None:
    await say(grace, "ban", member=ada.id)
    open_admin(stage)
    async with nothing_changes(stage):
        for command, options in (("ban", {"member": grace.id}), ("unban", {"member": ada.id}), ("bans", {})):
            assert "Manage Server" in await say(ada, command, **options), command
        assert await offered(ada, "ban", "duration") == []
    assert await offered(grace, "ban", "duration", "1") == [("1h", "1h"), ("12h", "12h"), ("1d", "1d")]
    assert ("forever", "forever") in await offered(grace, "ban", "duration")
