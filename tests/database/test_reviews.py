"""What moderators decide, as the database has it: job, credits, pictures, ban and audit log change together."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from flux_core.database import bans, outbox, removals, reviews, verdicts
from flux_core.database.pictures import discarded_keys
from flux_core.database.reviews import Review
from flux_core.database.tables import audit
from flux_core.database.tables import bans as banned
from flux_core.errors import AlreadyDecided, AlreadySo, Banned, JobNotFound, NotThere, TooManyReports
from flux_core.jobs import Job, JobState
from flux_core.maintenance import APPROVAL_WAITS, Retention, chores
from flux_core.policy.guild import PromptRule
from tests.database.scene import ABROAD, ANNE, BERT, CLEO, DAY, ON_SQLITE, SCHNELL, Scene, a_reply, a_request
from tests.database.test_plans import plans

GUILD, MODERATOR = ANNE.guild_id, 50
CHANNEL = 77


async def moderated(scene: Scene, channel: int | None = CHANNEL) -> None:
    rule = PromptRule(kind="word", pattern="dragon", action="approve")
    change = {"moderators_channel": channel, "prompt_rules": (rule,) if channel else ()}
    await scene.studio.policies.change(
        GUILD, lambda policy: policy.model_copy(update=change), by=1, action="moderation channel"
    )


async def held(scene: Scene, account: Any = ANNE) -> tuple[Job, Review]:
    job = await scene.submit(account, request=a_request(prompt="a dragon"), reply_to=a_reply())
    assert job.held == "approval"
    return job, next(one for one in await scene.studio.reviews.waiting(GUILD) if one.job_id == job.id)


async def drawn(scene: Scene, **reply: Any) -> Job:
    job = await scene.submit(reply_to=a_reply(message_id=13, **reply), count=2)
    await scene.succeed(await scene.claim())
    return job


async def reported(scene: Scene, by: Any = BERT, **reply: Any) -> tuple[Job, Review]:
    job = await drawn(scene, **reply)
    await scene.studio.reviews.report(job.id, account=by, reason="not nice")
    return job, (await scene.studio.reviews.waiting(GUILD))[-1]


async def log(scene: Scene) -> list[tuple[str, int, int | None, dict[str, Any]]]:
    rows = await scene.db.read(lambda connection: connection.execute(sa.select(audit).order_by(audit.c.id)).all())
    return [
        (row.action, row.by_user, row.target_user, json.loads(row.facts))
        for row in rows
        if row.action != "moderation channel"
    ]


async def do(scene: Scene, name: str, **kept: int) -> int:
    [chore] = [one for one in chores(scene.db, scene.queue, scene.store, Retention(**kept)) if name in one.name]
    return await chore.work()


# Approvals


async def test_what_is_approved_is_claimed(scene: Scene) -> None:
    await moderated(scene)
    job, review = await held(scene)
    assert (review.kind, review.reason, review.by, review.guild_id) == ("approval", "dragon", None, GUILD)
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    await scene.studio.reviews.approve(review.id, guild_id=GUILD, by=MODERATOR)
    assert (await scene.claim()).id == job.id
    assert await log(scene) == [("review approve", MODERATOR, ANNE.user_id, {"job": job.id})]


async def test_what_is_rejected_costs_nothing(scene: Scene) -> None:
    await moderated(scene)
    job, review = await held(scene)
    assert (await scene.studio.quota(ANNE)).spent == job.cost
    await scene.studio.reviews.reject(review.id, guild_id=GUILD, by=MODERATOR, reason="no dragons")
    ended = await scene.studio.job(job.id)
    assert (ended.state, ended.error_code, ended.error_facts) == (
        JobState.REFUSED,
        "rejected",
        {"reason": "no dragons"},
    )
    assert (await scene.studio.quota(ANNE)).spent == 0
    assert await log(scene) == [("review reject", MODERATOR, ANNE.user_id, {"job": job.id, "reason": "no dragons"})]


async def test_the_first_verdict_stands(scene: Scene) -> None:
    await moderated(scene)
    _, review = await held(scene)
    await scene.studio.reviews.approve(review.id, guild_id=GUILD, by=MODERATOR)
    for late in (scene.studio.reviews.reject, scene.studio.reviews.approve):
        with pytest.raises(AlreadyDecided) as raised:
            await late(review.id, guild_id=GUILD, by=51)
        assert raised.value.facts == {"verdict": "approved", "by": MODERATOR, "at": scene.clock.now}
    assert len(await log(scene)) == 1


async def test_others_and_other_kinds_of_review_are_not_there(scene: Scene) -> None:
    await moderated(scene)
    job, approval = await held(scene)
    _, report = await reported(scene)
    desk = scene.studio.reviews
    for attempt in (
        desk.approve(approval.id, guild_id=8, by=MODERATOR),
        desk.approve(report.id, guild_id=GUILD, by=MODERATOR),
        desk.reject("0" * 24, guild_id=GUILD, by=MODERATOR),
        desk.delete(approval.id, guild_id=GUILD, by=MODERATOR),
        desk.ban(report.id, guild_id=8, by=MODERATOR, reason="", until=None),
        desk.dismiss(report.id, guild_id=8, by=MODERATOR),
        desk.job_of(report.id, guild_id=8, kind="report"),
    ):
        with pytest.raises(NotThere):
            await attempt
    assert await log(scene) == []
    assert (await scene.studio.job(job.id)).held == "approval"
    assert len(await desk.waiting(GUILD)) == 2


async def test_a_job_taken_back_ends_its_review(scene: Scene) -> None:
    await moderated(scene)
    job, review = await held(scene)
    await scene.studio.reviews.posted(review.id, CHANNEL, 1)
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    with pytest.raises(AlreadyDecided) as raised:
        await scene.studio.reviews.approve(review.id, guild_id=GUILD, by=MODERATOR)
    assert raised.value.facts["verdict"] == "withdrawn"
    await scene.studio.reviews.tidy()
    [due] = await scene.studio.reviews.due()
    assert (due.review.verdict, due.review.decided_by) == ("withdrawn", None)
    assert not await scene.db.read(verdicts.untidy)


async def test_an_approval_that_nobody_gives_ends_after_three_days(scene: Scene) -> None:
    await moderated(scene)
    early, _ = await held(scene)
    scene.clock.now += 1
    late, review = await held(scene, BERT)
    scene.clock.now += APPROVAL_WAITS - 0.5
    assert [await do(scene, "approved in time"), await do(scene, "approved in time")] == [1, 0]
    ended = await scene.studio.job(early.id)
    assert (ended.state, ended.error_code) == (JobState.REFUSED, "approval_expired")
    assert [kind for kind, _, _ in await scene.ledger(early)] == ["reserve", "refund"]
    assert await log(scene) == [("review expire", 0, ANNE.user_id, {"job": early.id})]
    assert await scene.studio.reviews.waiting(GUILD) == [review]
    assert (await scene.studio.job(late.id)).held == "approval"


async def test_what_was_taken_back_does_not_expire_as_well(scene: Scene) -> None:
    await moderated(scene)
    job, _ = await held(scene)
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    scene.clock.now += APPROVAL_WAITS + 1
    assert await do(scene, "approved in time") == 1
    assert (await scene.studio.job(job.id)).state is JobState.CANCELLED
    assert await log(scene) == []
    assert await scene.studio.reviews.waiting(GUILD) == []


# Reports


async def test_who_may_report_what(scene: Scene) -> None:
    job = await drawn(scene)
    secret = await drawn(scene, private=True)
    shell = await scene.submit()
    desk = scene.studio.reviews
    for job_id, account in ((job.id, ABROAD), (secret.id, BERT), (shell.id, BERT), ("0" * 24, BERT)):
        for ask in (desk.check_report(job_id, account=account), desk.report(job_id, account=account, reason="x")):
            with pytest.raises(JobNotFound):
                await ask
    assert await desk.waiting(GUILD) == []
    await desk.report(secret.id, account=ANNE, reason="my own")
    assert await desk.report(job.id, account=BERT, reason="x") is None
    await moderated(scene)
    assert await desk.report(job.id, account=CLEO, reason="x") == CHANNEL
    for again in (desk.check_report(job.id, account=BERT), desk.report(job.id, account=BERT, reason="y")):
        with pytest.raises(AlreadySo):
            await again
    assert [(one.by, one.reason) for one in await desk.waiting(GUILD)] == [(1, "my own"), (2, "x"), (3, "x")]


async def test_nobody_buries_the_moderators_in_reports(scene: Scene) -> None:
    desk = scene.studio.reviews
    for number in range(reviews.MOST_REPORTS + 1):
        job = await scene.submit(CLEO if number % 2 else BERT, reply_to=a_reply())
        await scene.studio.cancel(job.id, by=1, moderator=True)
        if number < reviews.MOST_REPORTS:
            await desk.report(job.id, account=ANNE, reason="x")
    with pytest.raises(TooManyReports) as raised:
        await desk.report(job.id, account=ANNE, reason="x")
    assert raised.value.facts == {"limit": reviews.MOST_REPORTS}
    await desk.report(job.id, account=BERT, reason="x")
    await desk.dismiss((await desk.waiting(GUILD))[0].id, guild_id=GUILD, by=MODERATOR)
    await desk.report(job.id, account=ANNE, reason="x")


async def test_a_deleted_job_has_no_pictures_and_no_message(scene: Scene) -> None:
    job, review = await reported(scene)
    keys = [picture.key for picture in await scene.studio.pictures(job.id)]
    for key in keys:
        await scene.store.put(str(key), b"x", "image/webp")
    await scene.studio.reviews.delete(review.id, guild_id=GUILD, by=MODERATOR)
    assert [picture.key for picture in await scene.studio.pictures(job.id)] == [None, None]
    assert await scene.db.read(discarded_keys, 10) == []  # the store has let go of them
    [removal] = await scene.studio.removals.due()
    assert (removal.guild_id, removal.channel_id, removal.message_id) == (GUILD, 12, 13)
    # What it had been delivered as is gone; it is not delivered again.
    assert await scene.studio.live_jobs() == []
    assert await log(scene) == [("review delete", MODERATOR, ANNE.user_id, {"job": job.id})]


async def test_a_private_answer_is_out_of_reach(scene: Scene) -> None:
    _, review = await reported(scene, ANNE, private=True)
    await scene.studio.reviews.delete(review.id, guild_id=GUILD, by=MODERATOR)
    assert await scene.studio.removals.due() == []


async def test_a_job_that_has_not_ended_is_stopped(scene: Scene) -> None:
    jobs = [await scene.submit(reply_to=a_reply(message_id=number)) for number in (1, 2)]
    running = await scene.claim()
    for job in jobs:
        await scene.studio.reviews.report(job.id, account=BERT, reason="x")
    for review in await scene.studio.reviews.waiting(GUILD):
        await scene.studio.reviews.delete(review.id, guild_id=GUILD, by=MODERATOR)
    assert (await scene.studio.job(running.id)).cancel_requested
    assert (await scene.studio.job(jobs[1].id)).state is JobState.CANCELLED
    assert {removal.message_id for removal in await scene.studio.removals.due()} == {1, 2}
    assert await scene.db.read(outbox.live, None, tuple(JobState)) == []


@pytest.mark.parametrize("before", [None, 2 * DAY])
async def test_a_ban_never_shortens_the_one_before(scene: Scene, before: float | None) -> None:
    _, review = await reported(scene)
    longer = None if before is None else scene.clock.now + before
    await scene.db.write(bans.put, ANNE, 1, "before", longer, scene.clock.now)
    until = scene.clock.now + DAY
    await scene.studio.reviews.ban(review.id, guild_id=GUILD, by=MODERATOR, reason="enough", until=until)
    [ban] = await scene.db.read(lambda connection: connection.execute(sa.select(banned)).all())
    assert (ban.until, ban.reason, ban.by_user) == (longer, "before", 1)
    assert len(await scene.studio.removals.due()) == 1


async def test_a_ban_holds_and_lengthens_the_one_before(scene: Scene) -> None:
    job, review = await reported(scene)
    await scene.db.write(bans.put, ANNE, 1, "before", scene.clock.now + DAY / 2, scene.clock.now)
    until = scene.clock.now + DAY
    await scene.studio.reviews.ban(review.id, guild_id=GUILD, by=MODERATOR, reason="enough", until=until)
    [ban] = await scene.db.read(lambda connection: connection.execute(sa.select(banned)).all())
    assert (ban.user_id, ban.until, ban.reason, ban.by_user) == (ANNE.user_id, until, "enough", MODERATOR)
    with pytest.raises(Banned):
        await scene.submit()
    assert await log(scene) == [
        ("review ban", MODERATOR, ANNE.user_id, {"job": job.id, "reason": "enough", "until": until})
    ]
    assert len(await scene.studio.removals.due()) == 1


async def test_one_verdict_decides_all_reports_of_a_job_and_no_others(scene: Scene) -> None:
    job, first = await reported(scene)
    await scene.studio.reviews.report(job.id, account=CLEO, reason="x")
    _, other = await reported(scene)
    await scene.studio.reviews.dismiss(first.id, guild_id=GUILD, by=MODERATOR)
    assert await scene.studio.reviews.waiting(GUILD) == [other]
    with pytest.raises(AlreadyDecided):
        await scene.studio.reviews.dismiss(first.id, guild_id=GUILD, by=MODERATOR)


# What retention forgets


async def test_forgotten_jobs_leave_no_words_in_their_reviews(scene: Scene) -> None:
    await moderated(scene)
    job, review = await reported(scene)
    await scene.studio.reviews.posted(review.id, CHANNEL, 1)
    _, approval = await held(scene)
    await scene.studio.reviews.posted(approval.id, CHANNEL, 2)
    await scene.studio.reviews.reject(approval.id, guild_id=GUILD, by=MODERATOR)
    for one in (job.id, approval.job_id):
        await scene.studio.delivered(one)
    [stale] = await scene.studio.reviews.due()
    await scene.studio.reviews.told(stale.review)
    assert await scene.studio.reviews.due() == []
    scene.clock.now += 31 * DAY
    assert await do(scene, "pictures were kept long enough", pictures_days=30) == 2
    assert await scene.studio.reviews.waiting(GUILD) != []
    assert await do(scene, "jobs forgotten", jobs_days=30) == 2
    due = await scene.studio.reviews.due()
    assert [(one.review.verdict, one.review.reason, one.job) for one in due] == [
        ("forgotten", "", None),
        ("rejected", "", None),
    ]
    # An edit that was under way with the words does not count.
    await scene.studio.reviews.told(stale.review)
    assert len(await scene.studio.reviews.due()) == 2
    for one in due:
        await scene.studio.reviews.told(one.review)
    assert await scene.studio.reviews.due() == []
    with pytest.raises(AlreadyDecided):
        await scene.studio.reviews.delete(review.id, guild_id=GUILD, by=MODERATOR)


# Telling the moderators


async def test_a_review_is_due_until_it_is_posted_and_again_until_it_is_told(scene: Scene) -> None:
    job, review = await reported(scene)
    desk = scene.studio.reviews
    assert await desk.due() == []  # nobody has said where
    await moderated(scene)
    [due] = await desk.due()
    assert (due.review.id, due.channel_id, due.job and due.job.id) == (review.id, CHANNEL, job.id)
    await desk.failed(review.id, scene.clock.now + 60, "no right")
    assert await desk.due() == []
    [waiting] = await desk.waiting(GUILD)
    assert (waiting.attempts, waiting.problem, waiting.next_at) == (1, "no right", scene.clock.now + 60)
    scene.clock.now += 60
    assert len(await desk.due()) == 1
    await desk.posted(review.id, CHANNEL, 5)
    assert await desk.due() == []
    [waiting] = await desk.waiting(GUILD)
    assert (waiting.attempts, waiting.problem, waiting.message_id) == (0, None, 5)
    await desk.dismiss(review.id, guild_id=GUILD, by=MODERATOR)
    [due] = await desk.due()
    assert (due.review.verdict, due.review.decided_by) == ("dismissed", MODERATOR)
    await desk.told(due.review)
    assert await desk.due() == []


async def test_what_was_decided_before_its_post_was_noted_is_told_on_it(scene: Scene) -> None:
    await moderated(scene)
    _, review = await held(scene)
    desk = scene.studio.reviews
    await desk.approve(review.id, guild_id=GUILD, by=MODERATOR)
    assert await desk.due() == []  # there is no message that would have to tell it
    await desk.seen(review.id, GUILD + 1, CHANNEL, 4)  # nobody moves it to another server
    assert await desk.due() == []
    await desk.seen(review.id, GUILD, CHANNEL, 5)
    [due] = await desk.due()
    assert (due.review.message_id, due.review.verdict) == (5, "approved")
    await desk.seen(review.id, GUILD, CHANNEL, 6)
    [due] = await desk.due()
    assert due.review.message_id == 5


async def test_open_reviews_leave_a_channel_that_is_the_moderators_no_more(scene: Scene) -> None:
    await moderated(scene)
    _, review = await held(scene)
    desk = scene.studio.reviews
    await desk.posted(review.id, CHANNEL, 5)
    await desk.tidy()
    assert await scene.studio.removals.due() == []
    await moderated(scene, 78)
    await desk.tidy()
    [due] = await desk.due()
    assert (due.channel_id, due.review.message_id) == (78, None)
    [removal] = await scene.studio.removals.due()
    assert (removal.channel_id, removal.message_id) == (CHANNEL, 5)


async def test_many_reviews_of_one_guild_do_not_keep_others_waiting(scene: Scene) -> None:
    desk = scene.studio.reviews
    for number in range(reviews.DUE_AT_ONCE + 5):
        job = await scene.submit(CLEO if number % 2 else BERT, reply_to=a_reply())
        await scene.studio.cancel(job.id, by=1, moderator=True)
        await desk.report(job.id, account=ANNE if number % 2 else CLEO, reason="x")
    abroad = await scene.submit(ABROAD, reply_to=a_reply())
    await desk.report(abroad.id, account=ABROAD, reason="x")
    await moderated(scene)
    await scene.studio.policies.change(
        8, lambda policy: policy.model_copy(update={"moderators_channel": 80}), by=1, action="moderation channel"
    )
    due = await desk.due()
    assert len([one for one in due if one.channel_id == CHANNEL]) == reviews.DUE_AT_ONCE
    assert [one.review.job_id for one in due if one.channel_id == 80] == [abroad.id]


@ON_SQLITE  # the plan is that of SQLite
async def test_looking_for_reviews_takes_the_indexes_of_those_that_matter(scene: Scene) -> None:
    now = scene.clock.now
    assert "ix_reviews_untold" in await plans(scene, reviews.decided, now)
    for query, *args in (
        (reviews.guilds_to_post, now),
        (reviews.to_post, GUILD, now),
        (reviews.waiting, GUILD, 10),
        (reviews.ended,),
        (reviews.expired, now, 10),
        (reviews.places,),
    ):
        assert "ix_reviews_open" in await plans(scene, query, *args), query
    assert "ix_reviews_job" in await plans(scene, reviews.forget, ["a"], now)


# Messages to be deleted


async def test_a_message_is_deleted_once_and_tried_until_then(scene: Scene) -> None:
    for _ in range(2):
        await scene.db.write(removals.note, GUILD, 12, 13, scene.clock.now)
    [one] = await scene.studio.removals.due()
    assert (one.guild_id, one.channel_id, one.message_id, one.attempts) == (GUILD, 12, 13, 0)
    await scene.studio.removals.failed(one, scene.clock.now + 8)
    assert await scene.studio.removals.due() == []
    scene.clock.now += 8
    [again] = await scene.studio.removals.due()
    assert (again.attempts, again.since) == (1, scene.clock.now - 8)
    await scene.studio.removals.done(again)
    assert await scene.studio.removals.due() == []


async def test_what_is_to_go_now_does_not_wait_for_a_whole_history(scene: Scene) -> None:
    for message in range(30):
        await scene.db.write(removals.note, GUILD, 12, message, scene.clock.now)
    scene.clock.now += 1
    await scene.db.write(removals.note, GUILD, 12, 99, scene.clock.now)
    assert (await scene.studio.removals.due())[0].message_id == 99


async def test_of_two_bots_one_posts_and_the_other_one_after_its_crash(scene: Scene) -> None:
    await moderated(scene)
    _, review = await held(scene)
    _, other = await held(scene, BERT)
    desk = scene.studio.reviews
    assert await desk.claim(review.id, 30)
    assert not await desk.claim(review.id, 30)
    assert [due.review.id for due in await desk.due()] == [other.id]
    # What the other bot is refused meanwhile leaves this one its time.
    assert await desk.claim(other.id, 30)
    await desk.stuck(other, scene.clock.now + 2, "closed")
    scene.clock.now += 3
    assert [due.review.id for due in await desk.due()] == [other.id]
    scene.clock.now += 27
    assert [due.review.id for due in await desk.due()] == [review.id, other.id]
    assert await desk.claim(review.id, 30)
    await desk.posted(review.id, CHANNEL, 5)
    scene.clock.now += 60
    assert not await desk.claim(review.id, 30)


async def test_what_stops_one_review_stops_those_that_are_due_with_it(scene: Scene) -> None:
    await moderated(scene)
    (_, first), (_, second) = await held(scene), await held(scene, BERT)
    assert await scene.studio.reviews.claim(first.id, 30)
    await scene.studio.reviews.stuck(first, scene.clock.now + 2, "closed")
    waiting = await scene.studio.reviews.waiting(GUILD)
    assert [(one.attempts, one.problem, one.next_at) for one in waiting] == [(1, "closed", scene.clock.now + 2)] * 2
    assert {one.id for one in waiting} == {first.id, second.id}
