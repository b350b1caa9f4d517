"""The outbox: a job stays in it until its member has been told, by one bot at a time."""

from __future__ import annotations

import asyncio

import pytest

from flux_core.jobs import Job, JobState
from tests.database.scene import ABROAD, ANNE, BERT, Scene, a_reply


async def ended(scene: Scene) -> Job:
    """A job that ended and was not delivered."""
    await scene.submit(ANNE, reply_to=a_reply())
    return await scene.succeed(await scene.claim())


async def live(scene: Scene, **narrowed: object) -> list[str]:
    """Return the ids of the live jobs."""
    return [one.job.id for one in await scene.studio.live_jobs(**narrowed)]  # type: ignore[arg-type]


async def test_every_job_with_an_answer_is_live_until_delivered(scene: Scene) -> None:
    await scene.submit(ANNE)
    jobs = [await scene.submit(account, reply_to=a_reply()) for account in (ANNE, BERT, ABROAD)]
    assert await live(scene) == [job.id for job in jobs]
    assert await live(scene, guilds=[ABROAD.guild_id]) == [jobs[2].id]
    assert await live(scene, guilds=[]) == []
    await scene.studio.cancel(jobs[1].id, by=BERT.user_id, moderator=False)
    assert await live(scene, states=[JobState.CANCELLED]) == [jobs[1].id]
    assert await live(scene, states=[JobState.QUEUED, JobState.RUNNING]) == [jobs[0].id, jobs[2].id]
    await scene.studio.delivered(jobs[1].id)
    assert await live(scene) == [jobs[0].id, jobs[2].id]
    done = await scene.studio.job(jobs[1].id)
    assert done.delivered_at == scene.clock.now
    assert done.reply_to is not None
    assert (done.reply_to.interaction_token, done.reply_to.channel_id) == ("", 12)


async def test_delivering_twice_keeps_the_first_time(scene: Scene) -> None:
    job = await ended(scene)
    await scene.studio.delivered(job.id)
    first = scene.clock.now
    scene.clock.now += 5
    await scene.studio.delivered(job.id)
    assert (await scene.studio.job(job.id)).delivered_at == first


async def test_the_message_is_remembered(scene: Scene) -> None:
    job = await ended(scene)
    await scene.studio.attach_message(job.id, 2**62)
    reply = (await scene.studio.job(job.id)).reply_to
    assert reply is not None
    assert reply.message_id == 2**62
    assert reply.interaction_token == "a-secret"


async def test_one_bot_delivers_at_a_time(scene: Scene) -> None:
    job = await ended(scene)
    claim = scene.studio.claim_delivery
    answers = await asyncio.gather(*(claim(job.id, f"bot-{number}", 10) for number in range(5)))
    assert answers.count(True) == 1
    winner = f"bot-{answers.index(True)}"
    assert await claim(job.id, winner, 10)
    scene.clock.now += 10
    assert await claim(job.id, "another", 10)
    assert not await claim(job.id, winner, 10)
    await scene.studio.delivered(job.id)
    assert not await claim(job.id, "another", 10)
    assert not await claim("0" * 24, "another", 10)


async def test_a_failed_delivery_is_tried_again_later_by_anybody(scene: Scene) -> None:
    job = await ended(scene)
    await scene.studio.claim_delivery(job.id, "a", 100)
    await scene.studio.delivery_failed(job.id, scene.clock.now + 8, "503")
    await scene.studio.delivery_failed(job.id, scene.clock.now + 16, "503")
    [one] = await scene.studio.live_jobs()
    assert (one.delivery_attempts, one.next_delivery_at) == (2, scene.clock.now + 16)
    assert await scene.column(job, "delivery_problem") == "503"
    assert await scene.studio.claim_delivery(job.id, "b", 100)


async def test_a_job_nobody_could_be_told_of_shows_among_the_members_jobs(scene: Scene) -> None:
    job = await ended(scene)
    assert await scene.studio.jobs_of(ANNE) == []
    await scene.studio.give_up_delivery(job.id, "the channel is gone")
    assert await live(scene) == []
    assert [one.id for one in await scene.studio.jobs_of(ANNE)] == [job.id]
    assert (await scene.studio.job(job.id)).delivered_at is None
    assert await scene.column(job, "interaction_token") is None


async def test_a_job_that_was_given_up_leaves_the_list_once_its_member_saw_it(scene: Scene) -> None:
    job = await ended(scene)
    await scene.studio.give_up_delivery(job.id, "the channel is gone")
    await scene.studio.delivered(job.id)
    assert await scene.studio.jobs_of(ANNE) == []
    assert (await scene.studio.job(job.id)).delivered_at == scene.clock.now


async def test_a_delivered_job_cannot_be_given_up(scene: Scene) -> None:
    job = await ended(scene)
    await scene.studio.delivered(job.id)
    await scene.studio.give_up_delivery(job.id, "late")
    await scene.studio.delivery_failed(job.id, 1.0, "late")
    assert await scene.column(job, "undeliverable_at") is None
    assert await scene.column(job, "delivery_attempts") == 0


@pytest.mark.parametrize("how", ["forgotten", "delivered"])
async def test_the_token_can_be_forgotten(scene: Scene, how: str) -> None:
    job = await ended(scene)
    await (scene.studio.forget_reply(job.id) if how == "forgotten" else scene.studio.delivered(job.id))
    assert await scene.column(job, "interaction_token") is None


async def test_the_outbox_outlives_a_restart_of_everything(scene: Scene, database_url: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from tests.database.scene import a_scene

    job = await ended(scene)
    await scene.studio.claim_delivery(job.id, "killed", 10)
    await scene.db.close()
    async with a_scene(database_url, tmp_path) as again:
        again.clock.now += 10
        assert await live(again) == [job.id]
        assert await again.studio.claim_delivery(job.id, "new", 10)


async def test_live_jobs_come_in_pages(scene: Scene) -> None:
    made = sorted([(await scene.submit(reply_to=a_reply())).id for _ in range(5)])
    assert await live(scene, limit=2) == made[:2]
    assert await live(scene, after=made[1], limit=2) == made[2:4]
    assert await live(scene, after=made[-1]) == []


async def test_a_new_message_takes_the_place_of_the_one_before_which_is_deleted(scene: Scene) -> None:
    job = await ended(scene)
    for message in (5, 6, 6):
        await scene.studio.replace_message(job.id, message)
    reply = (await scene.studio.job(job.id)).reply_to
    assert reply is not None
    assert reply.message_id == 6
    [removal] = await scene.studio.removals.due()
    assert (removal.guild_id, removal.channel_id, removal.message_id) == (ANNE.guild_id, reply.channel_id, 5)
    await scene.studio.replace_message("0" * 24, 7)
    assert len(await scene.studio.removals.due()) == 1
