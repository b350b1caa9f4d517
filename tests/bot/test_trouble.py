"""Whatever goes wrong, a member gets the pictures or a sentence."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import discord
import pytest
import sqlalchemy as sa
from discord import app_commands

from bot.client import FluxBot
from bot.delivery import outbox as delivery
from bot.interactions import orders
from bot.sandbox.driver import Person
from bot.sandbox.messages import LOADING
from bot.sandbox.reading import labels_of, pictures_of, text_of
from flux_core.database.tables import jobs
from flux_core.errors import OutOfMemory, Refused, StorageUnavailable
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import JobState, Origin, ReplyTo
from flux_core.service import Submission
from tests.bot import conftest
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, ask, delivered, finished, is_private, outbox_empty, png, press, spent

pytestmark = pytest.mark.usefixtures("hasty")


async def test_a_failed_job_says_why_and_can_be_tried_again(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a")
    await stage.easel.fail(await stage.easel.take(), OutOfMemory())
    failed = await ada.wait_for(lambda m: m["id"] == first["id"] and "memory" in text_of(m))
    assert labels_of(failed) == ["Try again", "Details", "Delete"]
    assert await spent(stage, ada) == 0
    await press(ada, failed, "Try again")
    assert (await stage.easel.take()).parent_id is not None
    await ada.press(failed, "Delete")
    await ada.wait_gone(failed["id"])


async def test_a_refused_job_says_so(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a")
    await stage.easel.fail(await stage.easel.take(), Refused(reason="house rules"))
    refused = await ada.wait_for(lambda m: m["id"] == first["id"] and "house rules" in text_of(m))
    assert labels_of(refused) == ["Details", "Delete"]


async def test_an_order_whose_receipt_is_lost_is_drawn_once(stage: Stage, ada: Person) -> None:
    await ada.faults(rest_lost=1)
    first = await ask(ada, prompt="lost receipt", count=1)
    job = await stage.easel.take()
    assert not job.cancel_requested
    await stage.easel.finish(job)
    done = await finished(ada, first["id"])
    assert len(pictures_of(done)) == 1
    kept = (await stage.studio.job(job.id)).reply_to
    assert kept is not None
    assert str(kept.message_id) == first["id"]
    assert [m["id"] for m in await ada.messages()] == [first["id"]]


async def test_an_order_is_acknowledged_again_over_a_new_connection(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, broken = discord.InteractionResponse.send_message, [aiohttp.ServerDisconnectedError()]

    async def breaking(response: discord.InteractionResponse[Any], *args: Any, **options: Any) -> Any:
        if broken:
            raise broken.pop()
        return await send(response, *args, **options)

    monkeypatch.setattr(discord.InteractionResponse, "send_message", breaking)
    first = await ask(ada, prompt="a", count=1)
    assert not is_private(first)
    await stage.easel.finish(await stage.easel.take())
    assert len(pictures_of(await finished(ada, first["id"]))) == 1


async def test_an_acknowledgement_on_a_dead_connection_is_sent_once_more(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "HANGS_AFTER", 1.0)
    send = discord.InteractionResponse.send_message
    sent = 0

    async def no_receipt(self: Any, *given: Any, **options: Any) -> Any:
        nonlocal sent
        sent += 1
        told = await send(self, *given, **options)
        if sent == 1:
            self._response_type = None  # discord.py does not know it yet
            await asyncio.Event().wait()
        return told

    monkeypatch.setattr(discord.InteractionResponse, "send_message", no_receipt)
    first = await ask(ada, prompt="dead", count=1)
    await stage.easel.finish(await stage.easel.take())
    await finished(ada, first["id"])
    assert sent == 2
    assert [m["id"] for m in await ada.messages()] == [first["id"]]


async def test_a_picture_refused_after_a_lost_receipt_takes_its_placeholder_away(stage: Stage, ada: Person) -> None:
    broken = await ada.upload(b"no picture at all", "broken.png")
    await ada.faults(rest_lost=1)
    interaction = await ada.command("imagine", prompt="a", image=broken)
    told = await ada.wait_for(lambda m: "no picture I can read" in text_of(m))
    assert is_private(told)
    placeholder = (await ada.outcome(interaction)).response_message_id
    assert [m["id"] for m in await ada.messages()] == [told["id"]] != [placeholder]


async def test_a_press_whose_receipt_is_lost_is_done(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    await stage.easel.finish(await stage.easel.take())
    done = await finished(ada, first["id"])
    await ada.faults(rest_lost=1)
    await ada.press(done, "Delete")
    await ada.wait_gone(first["id"])
    assert await ada.messages() == []


async def test_an_expired_token_leads_to_a_channel_message(stage: Stage, ada: Person, linus: Person) -> None:
    first = await ask(ada, prompt="late", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    late = await ada.wait_for(lambda m: "this took a while" in text_of(m))
    assert late["id"] != first["id"]
    assert [user["id"] for user in late["mentions"]] == [ada.id]
    assert len(pictures_of(late)) == 1
    await ada.wait_gone(first["id"])
    await delivered(stage, job.id)
    await press(ada, late, "Details")


async def test_a_job_whose_bot_died_before_it_could_answer_is_posted_all_the_same(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ACKNOWLEDGED_WITHIN", 1.0)
    reply_to = ReplyTo(
        application_id=int(stage.sandbox.world.community.bot.id),
        channel_id=int(next(c["id"] for c in (await ada.world())["channels"] if c["name"] == "studio")),
        interaction_token="never-acknowledged",
        token_expires_at=time.time() + 900,
    )
    request = resolve(RequestOptions(prompt="orphan", count=1), stage.studio.catalogue)
    account = account_of(ada)
    submission = Submission(account=account, request=request, origin=Origin.IMAGINE, reply_to=reply_to)
    job = await stage.studio.submit(submission)
    await stage.easel.finish(await stage.easel.take())
    posted = await ada.wait_for(lambda m: "orphan" in text_of(m) and "Reroll" in labels_of(m), 30)
    assert [user["id"] for user in posted["mentions"]] == [ada.id]
    await delivered(stage, job.id)


async def test_an_order_that_discord_would_not_acknowledge_costs_nothing(stage: Stage, ada: Person) -> None:
    account = account_of(ada)
    before = (await stage.studio.quota(account)).left
    stage.sandbox.inject(rest_500=50)
    interaction = await ada.command("imagine", prompt="unlucky")
    assert (await ada.outcome(interaction)).state == "failed"
    version = None
    async with asyncio.timeout(30):
        while not (jobs := await stage.studio.jobs_of(account, active_only=False)) or not jobs[0].state.ended:
            version = await stage.studio.changed(version, 1)
    assert jobs[0].state is JobState.CANCELLED
    assert (await stage.studio.quota(account)).left == before
    stage.sandbox.inject(rest_500=0)


@pytest.mark.parametrize("trouble", ["the connection hangs", "the database is away", "both, in the middle of it"])
async def test_an_order_that_nobody_heard_of_costs_nothing_whatever_else_goes_wrong(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    submit = stage.studio.submit

    async def hangs(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0)
        raise TimeoutError

    async def away(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("away")

    async def unconfirmed(submission: Submission) -> None:
        await asyncio.sleep(0.3)
        await submit(submission)
        raise StorageUnavailable("committed, and nobody heard")

    monkeypatch.setattr(discord.InteractionResponse, "send_message", hangs)
    monkeypatch.setattr(discord.InteractionResponse, "defer", hangs)
    if trouble == "the database is away":
        monkeypatch.setattr(stage.studio, "cancel", away)
    elif trouble == "both, in the middle of it":
        monkeypatch.setattr(orders, "QUICK_SECONDS", 0.01)
        monkeypatch.setattr(stage.studio, "submit", unconfirmed)
    await ada.command("imagine", prompt="unlucky", count=1)
    version = None
    async with asyncio.timeout(60):
        while not (found := await stage.studio.jobs_of(account_of(ada), active_only=False)) or not found[0].state.ended:
            version = await stage.studio.changed(version, 1)
    assert (found[0].state, await spent(stage, ada)) == (JobState.CANCELLED, 0)


async def test_an_answer_whose_id_cannot_be_asked_for_is_an_answer(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise aiohttp.ServerDisconnectedError

    monkeypatch.setattr(discord.Interaction, "original_response", broken)
    await ada.faults(rest_lost=1)  # Discord has the acknowledgement, and the bot does not know its id
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    assert len(pictures_of(await finished(ada, first["id"]))) == 1
    assert not (await stage.studio.job(job.id)).cancel_requested


async def test_a_private_result_with_an_expired_token_goes_by_direct_message(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="late", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    direct = await ada.wait_for(lambda m: "where I could not answer" in text_of(m))
    assert "guild_id" not in direct
    details = await press(ada, direct, "Details")
    assert "late" in text_of(details)
    await ada.press(direct, "Reroll")
    again = await stage.easel.take()
    assert again.account == job.account


async def test_what_cannot_be_delivered_waits_in_jobs(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="stranded", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True, closed_dms=True)
    await stage.easel.finish(job)
    await outbox_empty(stage)
    listed = await ada.response(await ada.command("jobs"))
    assert "not posted yet" in text_of(listed)
    shown = await press(ada, listed, "Show")
    assert is_private(shown)
    assert len(pictures_of(shown)) == 1
    await delivered(stage, job.id)


async def test_looking_at_pictures_that_are_still_to_be_posted_takes_them_from_nobody(
    stage: Stage, ada: Person, linus: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ask(ada, prompt="for everybody", count=1)
    job = await stage.easel.take()
    refused = asyncio.Event()

    async def trouble(*_: Any) -> int | None:
        refused.set()
        raise TimeoutError

    with monkeypatch.context() as away:
        away.setattr(delivery.Poster, "send", trouble)
        await stage.easel.finish(job)
        await asyncio.wait_for(refused.wait(), 30)
        listed = await ada.response(await ada.command("jobs"))
        assert "not posted yet" in text_of(listed)
        assert len(pictures_of(await press(ada, listed, "Show"))) == 1
        assert (await stage.studio.job(job.id)).delivered_at is None
    posted = await linus.wait_for(lambda m: m["id"] == first["id"] and "Details" in labels_of(m), 30)
    assert len(pictures_of(posted)) == 1


async def test_what_was_posted_before_the_database_went_away_is_not_posted_again_however_long_it_stays(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, away = stage.studio.delivered, asyncio.Event()

    async def unnoted(job_id: str) -> None:
        if away.is_set():
            await noted(job_id)
            return
        away.set()
        stage.sandbox.world.messages._nonces.clear()  # as Discord does after some minutes
        raise StorageUnavailable("away")

    monkeypatch.setattr(stage.studio, "delivered", unnoted)
    await ask(ada, prompt="once", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    await delivered(stage, job.id)
    assert away.is_set()
    posts = [one for one in stage.sandbox.records if one.method == "POST" and one.path.endswith("/messages")]
    assert len(posts) == 1


async def test_a_failure_that_cannot_be_told_is_read_in_jobs(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="stranded", private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True, closed_dms=True)
    await stage.easel.fail(job, OutOfMemory())
    await outbox_empty(stage)
    assert (await stage.studio.job(job.id)).delivered_at is None
    listed = await ada.response(await ada.command("jobs"))
    assert "memory" in text_of(listed)
    await delivered(stage, job.id)


async def test_a_lost_private_message_is_not_posted_in_public(stage: Stage, ada: Person, linus: Person) -> None:
    await ask(ada, prompt="secret", count=1, private=True)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True, closed_dms=True)
    await stage.easel.finish(job)
    await outbox_empty(stage)
    assert all("secret" not in text_of(message) for message in await linus.messages())


async def test_a_restarted_bot_finishes_what_it_began(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    await stage.easel.step(job, 2)
    await ada.wait_for(lambda m: m["id"] == first["id"] and "step 2 of 8" in text_of(m))
    await stage.kill_bot()
    await stage.easel.finish(job)
    await stage.start_bot()
    done = await finished(ada, first["id"])
    assert len(pictures_of(done)) == 1
    await press(ada, done, "Reroll")
    assert (await stage.easel.take()).parent_id == job.id
    assert sum(f"flux-{job.id}" in str(m["attachments"]) for m in await ada.messages()) == 1


async def test_the_bot_does_not_upload_its_commands_twice(stage: Stage) -> None:
    def uploads() -> int:
        return sum(one.method == "PUT" and one.path.endswith("/commands") for one in stage.sandbox.records)

    assert uploads() == 1
    await stage.stop_bot()
    await stage.start_bot()
    assert uploads() == 1


async def test_commands_that_discord_refuses_keep_no_bot_from_its_work(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choices = [app_commands.Choice(name=f"{number:0>100}", value=f"{number:0>100}") for number in range(25)]

    @app_commands.command(description="More than the 8,000 characters that Discord takes.")
    @app_commands.choices(one=choices, other=choices)
    async def verbose(_: discord.Interaction, one: str, other: str) -> None: ...

    first = await ask(ada, prompt="a", count=1)
    await stage.stop_bot()
    monkeypatch.setattr(conftest, "COMMANDS", [*conftest.COMMANDS, verbose])
    await stage.start_bot()
    assert "Discord refuses the bot's commands" in caplog.text
    await stage.easel.finish(await stage.easel.take())
    await finished(ada, first["id"])


async def test_delivery_outlasts_faults_at_discord(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(rest_500=2, rest_429=1, retry_after=0.1)
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: m["id"] == first["id"] and "Details" in labels_of(m), within=30)
    assert len(pictures_of(done)) == 1


async def test_a_deleted_message_is_posted_again_with_its_result(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a", count=1)
    job = await stage.easel.take()
    await stage.bot.get_partial_messageable(int(first["channel_id"])).get_partial_message(int(first["id"])).delete()  # type: ignore[union-attr]
    await stage.easel.finish(job)
    done = await ada.wait_for(lambda m: "Details" in labels_of(m))
    assert done["id"] != first["id"]


async def test_unforeseen_errors_show_a_number_and_no_more(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(stage.studio, "quota", broken)
    answer = await ada.response(await ada.command("quota"))
    assert is_private(answer)
    assert "secret" not in text_of(answer)
    number = text_of(answer).split("`")[1]
    assert f"incident {number}" in caplog.text
    monkeypatch.setattr(stage.studio, "submit", broken)
    # With a picture to fetch, the answer is public before the order is in the queue.
    asked = await ada.command("imagine", prompt="a", image=await ada.upload(png(), "mine.png"))
    await ada.wait_for(lambda m: is_private(m) and "went wrong" in text_of(m) and number not in text_of(m))
    placeholder = (await ada.outcome(asked)).response_message_id
    assert placeholder is not None
    await ada.wait_gone(placeholder)


async def test_a_refusal_is_told_even_where_its_placeholder_stays(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stays(*_: object) -> None:
        raise aiohttp.ClientConnectionError

    monkeypatch.setattr(discord.Interaction, "delete_original_response", stays)
    broken = await ada.upload(b"no picture at all", "red.png")
    asked = await ada.command("imagine", prompt="a", image=broken)
    told = await ada.wait_for(lambda m: is_private(m) and "picture" in text_of(m))
    placeholder = (await ada.outcome(asked)).response_message_id
    assert told["id"] != placeholder
    assert await stage.studio.live_jobs() == []


async def test_an_order_whose_message_could_not_be_noted_is_an_order(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach, failed = stage.studio.attach_message, []

    async def away(*noted: Any) -> None:
        if not failed:
            failed.append(noted)
            raise StorageUnavailable("away")
        await attach(*noted)

    monkeypatch.setattr(stage.studio, "attach_message", away)
    monkeypatch.setattr(delivery, "ACKNOWLEDGED_WITHIN", 1.0)
    card = await ask(ada, prompt="a fox", count=1)
    job = await stage.easel.take()
    await stage.easel.finish(job)
    await finished(ada, card["id"])
    assert [m["id"] for m in await ada.messages()] == [card["id"]]
    # Delivering it told which message it is, so that it can be deleted.
    reply = (await delivered(stage, job.id)).reply_to
    assert reply is not None
    assert str(reply.message_id) == card["id"]


async def test_a_bot_that_dies_after_posting_anew_leaves_no_card_that_waits(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LEASE", 0.2)
    posted = asyncio.Event()

    async def die(job_id: str) -> None:
        posted.set()
        await asyncio.Event().wait()

    first = await ask(ada, prompt="late", count=1)
    job = await stage.easel.take()
    stage.sandbox.inject(expire_tokens=True)
    with monkeypatch.context() as deadly:
        deadly.setattr(stage.studio, "delivered", die)
        await stage.easel.finish(job)
        await asyncio.wait_for(posted.wait(), 30)
        await stage.kill_bot()
    await stage.start_bot()
    await delivered(stage, job.id)
    await ada.wait_gone(first["id"], 30)
    assert [m["id"] for m in await ada.messages() if "Reroll" in labels_of(m)] == [
        str((await stage.studio.job(job.id)).reply_to.message_id)  # type: ignore[union-attr]
    ]


async def test_a_bot_that_died_before_it_was_told_its_messages_id_learns_it_with_the_next_edit(
    stage: Stage, ada: Person
) -> None:
    first = await ask(ada, prompt="nameless", count=1)
    job = await stage.easel.take()
    forget = sa.update(jobs).where(jobs.c.id == job.id).values(message_id=None)
    await stage.easel.queue._db.write(lambda connection: connection.execute(forget).rowcount)
    await stage.easel.step(job, 2)
    await ada.wait_for(lambda m: m["id"] == first["id"] and "step 2 of 8" in text_of(m), 30)
    async with asyncio.timeout(30):
        while (await stage.studio.job(job.id)).reply_to.message_id is None:  # type: ignore[union-attr]
            await stage.studio.changed(None, 1.0)
            await asyncio.sleep(0.01)
    stage.sandbox.inject(expire_tokens=True)
    await stage.easel.finish(job)
    await ada.wait_gone(first["id"], 30)
    await delivered(stage, job.id)


async def test_a_bot_that_dies_while_it_fetches_a_picture_leaves_what_discord_ends_by_itself(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching = asyncio.Event()

    async def never(url: str) -> Any:
        fetching.set()
        await asyncio.Event().wait()

    assert stage.bot is not None
    monkeypatch.setattr(stage.bot.attachments, "read", never)
    picture = await ada.upload(png(), "a.png")
    asked = await ada.command("imagine", prompt="a", image=picture, count=1)
    await asyncio.wait_for(fetching.wait(), 30)
    placeholder = await ada.message(str((await ada.outcome(asked)).response_message_id))
    assert placeholder is not None
    # "thinking…": after a quarter of an hour Discord's own clients say that nothing came of it.
    assert placeholder["flags"] & LOADING
    await stage.kill_bot()
    assert await stage.studio.jobs_of(account_of(ada), active_only=False) == []


@pytest.mark.parametrize(("how", "heard"), [("resume", True), ("reconnect", True), ("invalid", False)])
async def test_an_order_while_the_gateway_is_away(
    stage: Stage, ada: Person, monkeypatch: pytest.MonkeyPatch, how: str, heard: bool
) -> None:
    """A session that is resumed brings it along; with one that has ended it is lost, and costs nothing."""

    async def at_once(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(FluxBot, "before_identify_hook", at_once)  # discord.py would wait 5 seconds
    stage.sandbox.inject(drop_gateway=how)
    asked = await ada.command("imagine", prompt="a", count=1)
    assert (await ada.outcome(asked)).state == ("acknowledged" if heard else "failed")
    assert len(await stage.studio.jobs_of(account_of(ada), active_only=False)) == heard
    if not heard:
        asked = await ada.command("imagine", prompt="a", count=1)  # members just try again
    card = await ada.response(asked)
    await stage.easel.finish(await stage.easel.take())
    assert len(pictures_of(await finished(ada, card["id"]))) == 1


async def test_an_outage_of_a_server_is_no_removal(stage: Stage, ada: Person) -> None:
    """Discord tells of both with the same event."""
    await ask(ada, prompt="a", count=1)
    bot, gone = stage.bot, asyncio.Event()
    assert bot is not None
    guild = bot.guilds[0]

    async def on_guild_unavailable(_: discord.Guild) -> None:
        gone.set()

    bot.event(on_guild_unavailable)
    bot._connection.parsers["GUILD_DELETE"]({"id": str(guild.id), "unavailable": True})
    await asyncio.wait_for(gone.wait(), 30)
    [job] = await stage.studio.jobs_of(account_of(ada))
    assert job.state is JobState.QUEUED
    assert await stage.easel.take() == await stage.studio.job(job.id)


async def test_what_waits_for_a_server_that_removed_the_bot_is_given_back(stage: Stage, ada: Person) -> None:
    await ask(ada, prompt="a", count=1)
    stage.sandbox.inject(remove_bot=True)
    version = None
    async with asyncio.timeout(30):
        while await stage.studio.jobs_of(account_of(ada)):
            version = await stage.studio.changed(version, 1)
    [job] = await stage.studio.jobs_of(account_of(ada), active_only=False)
    assert (job.state, await spent(stage, ada)) == (JobState.CANCELLED, 0)
