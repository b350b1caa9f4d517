"""/admin queue: moderators see the queue, stop it, let it run dry, and take jobs out of it."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.database.audit import Entry, Wanted
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Job, JobState, Origin
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.scenes import FORGED_JOB, account_of, ask, is_private, order, press

GUILD = int(GUILD_ID)
ELSEWHERE = Account(guild_id=GUILD + 1, user_id=5)


async def say(person: Person, command: str, **options: Any) -> RawMessage:
    return await person.response(await person.command(f"admin queue {command}", **options))


async def agree(person: Person, question: RawMessage, button: str) -> str:
    await person.press(question, button)

    def settled(message: RawMessage) -> bool:
        return message["id"] == question["id"] and not labels_of(message) and "One moment" not in text_of(message)

    return text_of(await person.wait_for(settled))


async def submit(stage: Stage, account: Account, **more: Any) -> Job:
    """Put a job into the queue without Discord."""
    request = resolve(RequestOptions(prompt=more.pop("prompt", "a boat"), count=1), stage.studio.catalogue)
    return await stage.studio.submit(Submission(account=account, request=request, origin=Origin.SHELL, **more))


async def log(stage: Stage, guild: int | None = GUILD) -> list[Entry]:
    return list((await stage.studio.audit.page(Wanted(guild_id=guild))).entries)


@pytest.fixture
async def only_admin(stage: Stage, grace: Person) -> Person:
    """Grace as somebody who runs the server, and does not own the bot."""
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    return grace


@pytest.fixture
def opened(stage: Stage) -> None:
    """Let everybody see /admin, as a server's owner can; that alone must not be enough."""
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None


async def test_the_queue_is_shown_in_its_order(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    assert "**0 jobs** waiting, **0** being drawn." in text_of(await say(grace, "show"))
    first = await order(stage, ada, prompt="first *boat*")
    await stage.easel.take()
    await order(stage, ada, prompt="second")
    await order(stage, linus, prompt="a secret", private=True)
    told = await say(grace, "show")
    assert is_private(told)
    text = text_of(told)
    assert "**2 jobs** waiting, **1** being drawn." in text
    assert "The oldest was asked for <t:" in text
    lines = [line for line in text.splitlines() if line.startswith("**") and "·" in line]
    assert [line.split("·")[1].strip() for line in lines] == ["first \\*boat\\*", "\\(private\\)", "second"]
    assert lines[0].startswith("**drawn now**")
    assert f"/{first['id']})" in lines[0]
    assert lines[1].startswith(f"**1.** <@{linus.id}>"), "Ada had a turn already"
    assert lines[2].startswith(f"**2.** <@{ada.id}>")
    assert "a secret" not in text
    assert "[message]" not in lines[1]


async def test_a_long_queue_has_pages(stage: Stage, grace: Person, only_admin: Person) -> None:
    for number in range(10):
        await submit(stage, Account(GUILD, 100 + number), prompt=f"boat {number}")
    told = await say(grace, "show")
    assert "boat 7" in text_of(told)
    assert "boat 8" not in text_of(told)
    assert labels_of(told) == ["More"]
    await grace.press(told, "More")
    second = await grace.wait_for(lambda m: m["id"] == told["id"] and "boat 8" in text_of(m))
    assert "**9.**" in text_of(second)
    assert labels_of(second) == ["Back"]
    await stage.studio.line.clear(GUILD, by=1)
    await grace.press(second, "Back")
    empty = await grace.wait_for(lambda m: m["id"] == told["id"] and "**0 jobs** waiting" in text_of(m))
    assert labels_of(empty) == []


async def test_a_pause_holds_what_waits_and_a_drain_does_not(stage: Stage, ada: Person, grace: Person) -> None:
    waiting = await order(stage, ada, prompt="early bird")
    told = await say(grace, "pause", reason="a *storm*")
    assert text_of(told) == (
        "Paused in this server. `/admin queue resume` lets it go on. Members read: “a \\*storm\\*”"
    )
    await ada.wait_for(lambda m: m["id"] == waiting["id"] and "paused drawing" in text_of(m))
    refusal = text_of(await ask(ada, prompt="a"))
    assert "paused new pictures" in refusal
    assert "still drawn" not in refusal
    assert f"**Paused**: nothing is begun, by <@{grace.id}>" in text_of(await say(grace, "show"))
    assert await stage.easel.queue.claim("easel", stage.easel.skills) is None
    told = await say(grace, "drain", reason="closing time")
    assert "what waits is still drawn. `/admin queue resume` lets it go on. Members read: “closing" in text_of(told)
    refusal = text_of(await ask(ada, prompt="a"))
    assert "What waits already is still drawn. Their reason: “closing time”" in refusal
    await ada.wait_for(lambda m: m["id"] == waiting["id"] and "paused drawing" not in text_of(m))
    assert "**Draining**: new jobs are refused, what waits is drawn" in text_of(await say(grace, "show"))
    assert (await stage.easel.take()).request.prompt == "early bird"
    assert "Drawing goes on in this server" in text_of(await say(grace, "resume"))
    await order(stage, ada, prompt="a")
    assert "Nothing was paused in this server." in text_of(await say(grace, "resume"))
    assert [(one.action, one.by, one.facts.get("reason")) for one in await log(stage)] == [
        ("queue resume", int(grace.id), None),
        ("queue drain", int(grace.id), "closing time"),
        ("queue pause", int(grace.id), "a *storm*"),
    ]


async def test_the_owner_stops_every_server(stage: Stage, ada: Person, grace: Person) -> None:
    told = await say(grace, "pause", everywhere=True)
    assert "Paused in every server. `/admin queue resume everywhere:True` lets it go on." in text_of(told)
    assert "in every server, by" in text_of(await say(grace, "show"))
    assert "Nothing was paused in this server, but the bot's owner has paused every server" in text_of(
        await say(grace, "resume")
    )
    await say(grace, "pause")
    assert "Resumed here, but the bot's owner has paused" in text_of(await say(grace, "resume"))
    await say(grace, "drain", everywhere=True)
    assert "Nothing was paused in this server, but the bot's owner drains every server" in text_of(
        await say(grace, "resume")
    )
    assert "Drawing goes on in every server." in text_of(await say(grace, "resume", everywhere=True))
    assert await stage.studio.line.stops(None) == []
    assert [one.action for one in await log(stage, None)] == ["queue resume", "queue drain", "queue pause"]


async def test_the_longest_reason_is_told(grace: Person) -> None:
    assert "Paused in this server" in text_of(await say(grace, "pause", reason="*" * 200))
    assert "\\*" * 100 in text_of(await say(grace, "show"))
    with pytest.raises(driver.Refused, match="must be 1 to 200 characters"):
        await grace.command("admin queue drain", reason="r" * 201)


async def test_one_job_is_cancelled(stage: Stage, ada: Person, only_admin: Person) -> None:
    waiting = await order(stage, ada, prompt="a boat")
    [live] = await stage.studio.live_jobs()
    [choice] = await only_admin.autocomplete("admin queue cancel", "job", "boat")
    assert choice == {"name": "waiting: a boat · flux-tiny, 4 pictures", "value": live.job.id}
    assert await only_admin.autocomplete("admin queue cancel", "job", "train") == []
    question = await say(only_admin, "cancel", job=choice["value"])
    assert is_private(question)
    assert f"Stop this job of <@{ada.id}>?" in text_of(question)
    assert (await stage.studio.job(live.job.id)).state is JobState.QUEUED, "nothing is done before the button"
    assert f"went back to <@{ada.id}>" in await agree(only_admin, question, "Stop it")
    await ada.wait_for(lambda m: m["id"] == waiting["id"] and "Cancelled" in text_of(m))
    assert (await stage.studio.quota(account_of(ada))).spent == 0
    [entry] = await log(stage)
    assert (entry.action, entry.target, entry.facts["job"]) == ("queue cancel", int(ada.id), live.job.id)
    assert "already ended" in text_of(await say(only_admin, "cancel", job=live.job.id))


async def test_a_job_being_drawn_is_asked_to_stop(stage: Stage, ada: Person, grace: Person) -> None:
    await order(stage, ada, prompt="a boat")
    job = await stage.easel.take()
    question = await say(grace, "cancel", job=job.id)
    assert "as soon as it has" in await agree(grace, question, "Stop it")
    assert (await stage.studio.job(job.id)).cancel_requested
    assert "being stopped" in text_of(await say(grace, "show"))
    again = await say(grace, "cancel", job=job.id)
    assert "this job is being stopped already" in await agree(grace, again, "Stop it")
    assert len(await log(stage)) == 1


async def test_all_jobs_of_a_member_are_cancelled(stage: Stage, ada: Person, linus: Person, only_admin: Person) -> None:
    await order(stage, ada, prompt="one")
    drawing = await stage.easel.take()
    for prompt in ("two", "three"):
        await order(stage, ada, prompt=prompt, count=1)
    other = await submit(stage, account_of(linus))
    question = await say(only_admin, "cancel", member=ada.id)
    assert f"Stop all 3 jobs of <@{ada.id}>?" in text_of(question)
    told = await agree(only_admin, question, "Stop them")
    assert "2 waiting jobs cancelled" in told
    assert "1 job being drawn will stop within a step" in told
    assert (await stage.studio.job(drawing.id)).cancel_requested
    assert (await stage.studio.job(other.id)).state is JobState.QUEUED
    [entry] = await log(stage)
    assert (entry.target, entry.facts["waiting"], entry.facts["running"]) == (int(ada.id), 2, 1)
    none_left = await say(only_admin, "cancel", member=ada.id)
    assert "no job of that member that waits or is being drawn here" in text_of(none_left)


async def test_bad_orders_change_nothing(stage: Stage, ada: Person, only_admin: Person) -> None:
    elsewhere = await submit(stage, ELSEWHERE)
    assert "Name either" in text_of(await say(only_admin, "cancel"))
    assert "Name either" in text_of(await say(only_admin, "cancel", job=elsewhere.id, member=ada.id))
    for job in (elsewhere.id, FORGED_JOB, "a boat"):
        assert "I don't know this picture here" in text_of(await say(only_admin, "cancel", job=job))
    assert await only_admin.autocomplete("admin queue cancel", "job", "") == [], "other servers' jobs are not offered"
    assert "There is no waiting job here" in text_of(await say(only_admin, "clear"))
    for command in ("pause", "drain", "resume", "clear"):
        refusal = await say(only_admin, command, everywhere=True)
        assert "Only the bot's owner" in text_of(refusal), command
        assert is_private(refusal)
    assert await stage.studio.line.stops(None) == []
    assert await stage.studio.line.waiting(None) == 1
    assert await log(stage) == []


async def test_clearing_asks_first_and_gives_everything_back(
    stage: Stage, ada: Person, linus: Person, only_admin: Person
) -> None:
    await order(stage, ada, prompt="drawn")
    drawing = await stage.easel.take()
    for person in (ada, ada, linus):
        await submit(stage, account_of(person))
    elsewhere = await submit(stage, ELSEWHERE)
    spent = (await stage.studio.quota(account_of(linus))).spent
    assert spent > 0
    question = await say(only_admin, "clear")
    assert "Cancel all 3 jobs waiting in this server?" in text_of(question)
    assert await stage.studio.line.waiting(GUILD) == 3
    told = await agree(only_admin, question, "Clear the queue")
    assert "Cleared in this server: 3 waiting jobs cancelled" in told
    assert await stage.studio.line.waiting(GUILD) == 0
    assert (await stage.studio.quota(account_of(linus))).spent == 0
    assert not (await stage.studio.job(drawing.id)).cancel_requested
    assert (await stage.studio.job(elsewhere.id)).state is JobState.QUEUED
    [entry] = await log(stage)
    assert (entry.action, entry.facts["waiting"]) == ("queue clear", 3)


async def test_the_owner_clears_every_server(stage: Stage, grace: Person) -> None:
    await submit(stage, ELSEWHERE)
    question = await say(grace, "clear", everywhere=True)
    assert "Cancel the one job waiting in every server?" in text_of(question)
    assert "Cleared in every server: 1 waiting job cancelled" in await agree(grace, question, "Clear the queue")
    assert await stage.studio.line.waiting(None) == 0
    assert [one.action for one in await log(stage, None)] == ["queue clear"]


async def test_a_lost_right_is_noticed_with_the_button(stage: Stage, grace: Person) -> None:
    await submit(stage, ELSEWHERE)
    question = await say(grace, "clear", everywhere=True)
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    told = text_of(await press(grace, question, "Clear the queue"))
    assert "Only the bot's owner" in told
    assert await stage.studio.line.waiting(None) == 1


@pytest.mark.usefixtures("opened")
async def test_the_queue_is_in_moderators_hands(stage: Stage, ada: Person) -> None:
    await submit(stage, account_of(ada))
    for command in ("show", "pause", "drain", "resume", "cancel", "clear"):
        refusal = await say(ada, command)
        assert "Manage Server" in text_of(refusal), command
        assert is_private(refusal)
    assert await ada.autocomplete("admin queue cancel", "job", "") == []
    assert await stage.studio.line.stops(GUILD) == []
    assert await stage.studio.line.waiting(GUILD) == 1
    assert await log(stage) == []
