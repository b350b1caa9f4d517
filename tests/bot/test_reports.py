"""Members report pictures; moderators delete, ban or leave them; messages go until they are gone."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import discord
import sqlalchemy as sa

from bot.delivery.removals import GIVE_UP_AFTER, Removing
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, controls_of, labels_of, text_of
from bot.sandbox.rules.components import media_of, walk
from flux_core.database import removals
from flux_core.database.tables import bans
from flux_core.jobs import Account, Job, JobState
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, delivered, draw, is_private, press
from tests.bot.test_reviews import GUILD, asked, channel_of, moderate, open_reviews, told


async def report(person: Person, message: RawMessage, reason: str = "this is not nice") -> RawMessage:
    """Report a message; return the answer."""
    seen = await person.wait_for(lambda m: m["id"] == message["id"])
    opened = await person.message_menu("Report", seen)
    return await person.response(await person.submit_modal(opened, {"What is wrong with it?": reason}))


async def drawn(stage: Stage, person: Person, prompt: str = "a cat", count: int = 1) -> tuple[RawMessage, Job]:
    message = await draw(stage, person, prompt=prompt, count=count)
    [job] = await stage.studio.jobs_of(account_of(person), active_only=False, limit=1)
    return message, await delivered(stage, job.id)


async def actions(stage: Stage) -> list[str]:
    rows = await stage.studio._db.read(
        lambda connection: connection.execute(sa.text("SELECT action FROM audit ORDER BY id")).scalars().all()
    )
    return [action for action in rows if action != "test"]


async def test_a_deleted_picture_goes_from_everywhere(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    await moderate(stage, grace)
    message, job = await drawn(stage, ada, count=2)
    thanks = await report(linus, message, "it is *not* <@5> nice")
    assert is_private(thanks)
    assert "moderators of this server have your report now" in text_of(thanks)
    asks = await asked(grace, "Dismiss")
    assert labels_of(asks) == ["Delete", "Ban", "Dismiss"]
    ids = [control["custom_id"] for control in controls_of(asks)]
    assert [id.rsplit(":", 1)[0] for id in ids] == [f"flux:review:{choice}" for choice in ("delete", "ban", "dismiss")]
    for part in (f"<@{linus.id}>", r"it is \*not\* \<", f"<@{ada.id}>", message["id"], "a cat"):
        assert part in text_of(asks)
    shown = [part for _, component in walk(asks["components"]) for _, part in media_of(component)]
    assert len(asks["attachments"]) == len(shown) == 2
    gallery = next(component for _, component in walk(asks["components"]) if component["type"] == 12)
    assert all(item["spoiler"] for item in gallery["items"])
    await grace.press(asks, "Delete")
    await ada.wait_gone(message["id"])
    closed = await told(grace, asks, f"**Deleted** by <@{grace.id}>")
    assert closed["attachments"] == []
    assert [picture.key for picture in await stage.studio.pictures(job.id)] == [None, None]
    assert await actions(stage) == ["review delete"]


async def test_a_ban_ends_it_for_its_member(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    await moderate(stage, grace)
    message, _ = await drawn(stage, ada)
    await report(linus, message)
    opened = await grace.press(await asked(grace, "Ban"), "Ban")
    before = time.time()
    await grace.submit_modal(opened, {"How long": ["1 week"], "Reason": "three times now"})
    await ada.wait_gone(message["id"])
    [ban] = await stage.studio._db.read(lambda connection: connection.execute(sa.select(bans)).all())
    assert (ban.guild_id, ban.user_id, ban.by_user) == (GUILD, int(ada.id), int(grace.id))
    assert ban.reason == "three times now"
    assert abs(ban.until - before - 7 * 86_400) < 60
    refused = await ask(ada, prompt="another")
    assert "three times now" in text_of(refused)
    assert await actions(stage) == ["review ban"]


async def test_nobody_bans_themselves_or_the_owner(stage: Stage, linus: Person, grace: Person) -> None:
    await moderate(stage, grace)
    message, _ = await drawn(stage, grace)  # who owns the bot as well
    await report(linus, message)
    asks = await asked(grace, "Ban")
    assert "can't ban yourself" in text_of(await press(grace, asks, "Ban"))
    assert await actions(stage) == []


async def test_a_report_that_is_dismissed_changes_nothing(
    stage: Stage, ada: Person, linus: Person, grace: Person
) -> None:
    await moderate(stage, grace)
    message, job = await drawn(stage, ada)
    await report(linus, message)
    await report(grace, message, "I see it too")
    first = await asked(grace, "Dismiss")
    await grace.wait_for(lambda m: "Dismiss" in labels_of(m) and m["id"] != first["id"])
    await grace.press(first, "Dismiss")
    both = await grace.messages(channel="moderators")
    for one in both:
        # Deciding one of them decides all that are about the same picture.
        await told(grace, one, f"**Left as it is** by <@{grace.id}>")
    assert len(both) == 2
    assert await stage.studio.reviews.waiting(GUILD) == []
    assert await ada.message(message["id"]) is not None
    assert (await stage.studio.pictures(job.id))[0].key is not None
    assert await actions(stage) == ["review dismiss"]


async def test_only_moderators_decide_about_reports(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    await moderate(stage, grace, "general")
    message, _ = await drawn(stage, ada)
    await report(linus, message)
    asks = await asked(ada, "Dismiss")
    for button in ("Delete", "Ban", "Dismiss"):
        assert "Only moderators" in text_of(await press(ada, asks, button))
    assert len(await stage.studio.reviews.waiting(GUILD)) == 1


async def test_a_report_waits_for_a_channel(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    message, _ = await drawn(stage, ada)
    assert "has not chosen a channel" in text_of(await report(linus, message))
    shown = text_of(await grace.response(await grace.command("admin moderation show")))
    assert "Waiting for a decision: 1 report" in shown
    assert f"A report by <@{linus.id}>" in shown
    assert "there is no channel to post it in" in shown
    await moderate(stage, grace)
    asks = await asked(grace, "Dismiss")
    # Nothing happens twice: who reported it once has done so.
    again = await linus.response(await linus.message_menu("Report", message))
    assert "reported this picture before" in text_of(again)
    # The moderators' own message is no picture of anybody.
    none = await grace.response(await grace.message_menu("Report", asks))
    assert "I don't know this picture" in text_of(none)


async def test_what_discord_refuses_once_is_not_asked_for_every_report(
    stage: Stage, ada: Person, grace: Person
) -> None:
    _, job = await drawn(stage, ada)
    for user in (1, 2, 3):
        await stage.studio.reviews.report(job.id, account=Account(GUILD, user), reason="x")
    mute = await moderate(stage, grace, "read-only")
    reviews = await open_reviews(stage, when=lambda review: review.problem)
    refused = [one for one in stage.sandbox.records if one.method == "POST" and f"/channels/{mute}/" in one.path]
    assert len({one.attempts for one in reviews}) == 1
    # An attempt is two posts, since the pictures alone might be what is refused; another may be under way by now.
    assert len(refused) <= 2 * (reviews[0].attempts + 1) < 2 * 3 * reviews[0].attempts


async def test_pictures_that_may_not_be_attached_are_left_out(
    stage: Stage, ada: Person, linus: Person, grace: Person
) -> None:
    await moderate(stage, grace)
    message, _ = await drawn(stage, ada)
    stage.sandbox.inject(deny=["ATTACH_FILES"])
    await report(linus, message)
    asks = await asked(grace, "Dismiss")
    assert asks["attachments"] == []
    assert "no pictures that I could show" in text_of(asks)


async def test_a_report_survives_a_restart(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    await moderate(stage, grace)
    message, _ = await drawn(stage, ada)
    lost = await grace.message_menu("Report", message)
    await grace.modal(lost)
    await report(linus, message)
    await asked(grace, "Dismiss")
    await stage.kill_bot()
    await stage.start_bot()
    late = await grace.response(await grace.submit_modal(lost, {"What is wrong with it?": "too late"}))
    assert "too late" in text_of(late)
    assert len(await stage.studio.reviews.waiting(GUILD)) == 1
    await grace.press(await asked(grace, "Dismiss"), "Delete")
    await ada.wait_gone(message["id"])


async def test_the_message_of_a_deleted_job_goes_in_the_end(
    stage: Stage, ada: Person, linus: Person, grace: Person
) -> None:
    await moderate(stage, grace)
    message, job = await drawn(stage, ada)
    await report(linus, message)
    asks = await asked(grace, "Dismiss")
    await open_reviews(stage, when=lambda review: review.message_id is not None)
    await stage.stop_bot()
    [review] = await stage.studio.reviews.waiting(GUILD)
    await stage.studio.reviews.delete(review.id, guild_id=GUILD, by=int(grace.id))
    [noted] = await stage.studio.removals.due()
    assert str(noted.message_id) == message["id"]
    assert await ada.message(message["id"]) is not None
    await stage.start_bot()
    await ada.wait_gone(message["id"])
    await told(grace, asks, "**Deleted**")
    await no_removals(stage)
    assert (await stage.studio.job(job.id)).state is JobState.SUCCEEDED


async def no_removals(stage: Stage) -> None:
    version = None
    async with asyncio.timeout(30):
        while await stage.studio._db.read(lambda c: removals.due(c, float("inf"), 10)):
            version = await stage.studio.changed(version, 1)


async def test_removals_that_cannot_work_end(stage: Stage, ada: Person, grace: Person) -> None:
    studio_channel, secret = await channel_of(grace, "studio"), await channel_of(grace, "moderators")
    message, _ = await drawn(stage, ada)
    stage.sandbox.inject(deny=["VIEW_CHANNEL"])
    now = time.time()
    db = stage.studio._db
    # Gone already, without a right to see it and long since given up, and without a right to see it just now.
    await db.write(removals.note, GUILD, 99, 1, now)
    await db.write(removals.note, GUILD, secret, 2, now - GIVE_UP_AFTER - 1)
    await db.write(removals.note, GUILD, studio_channel, int(message["id"]), now)
    version = None
    async with asyncio.timeout(30):
        while [one.attempts for one in await db.read(removals.due, float("inf"), 10)] != [1]:
            version = await stage.studio.changed(version, 1)
    assert await ada.message(message["id"]) is not None
    stage.sandbox.inject(deny=[])
    await ada.wait_gone(message["id"])
    await no_removals(stage)


async def test_a_closed_channel_is_asked_once_for_all_that_is_to_go_there(stage: Stage) -> None:
    await stage.stop_bot()
    db, now = stage.studio._db, time.time()
    tried: list[int] = []
    for number in range(50):
        await db.write(removals.note, GUILD, 7, number, now - (number == 3) * (GIVE_UP_AFTER + 1))
    await db.write(removals.note, GUILD, 8, 1, now + 1)

    def forbidden(channel_id: int, **_: Any) -> Any:
        async def delete() -> None:
            tried.append(channel_id)
            if channel_id == 7:
                response: Any = SimpleNamespace(status=403, reason="Forbidden")
                raise discord.Forbidden(response, {"code": 50001, "message": "Missing Access"})

        return SimpleNamespace(get_partial_message=lambda _: SimpleNamespace(delete=delete))

    client: Any = SimpleNamespace(get_partial_messageable=forbidden)
    await Removing(client, stage.studio)._look()
    assert sorted(tried) == [7, 8]
    assert await stage.studio.removals.due() == []
    # They all wait for the next attempt; what was tried for long enough is given up.
    left = await db.read(removals.due, float("inf"), 100)
    assert {(one.channel_id, one.attempts) for one in left} == {(7, 1)}
    assert {one.message_id for one in left} == set(range(50)) - {3}
