"""The queue's contract, as a worker relies on it. Runs over every kind of database."""

from __future__ import annotations

import pytest

from flux_core.database.pictures import discarded_keys
from flux_core.errors import DrawingBroken, LeaseLost, OutOfMemory, Refused
from flux_core.jobs import JobState
from tests.database.scene import ABROAD, ANNE, BERT, CLEO, DEV, NOON, SCHNELL, TINY, Scene, a_reply, a_request, pictures

TODAY = "day:2026-11-21"


async def test_a_job_comes_back_as_it_was_submitted(scene: Scene) -> None:
    reply = a_reply(private=True, spoiler=True, message_id=5, upload_limit=1234)
    job = await scene.submit(request=a_request(count=3), reply_to=reply, parent_id="0" * 24, parent_position=2)
    assert await scene.studio.job(job.id) == job
    assert (job.reply_to, job.created_at, job.state) == (reply, NOON, JobState.QUEUED)


async def test_claiming_starts_an_attempt_with_a_lease(scene: Scene) -> None:
    job = await scene.submit()
    claimed = await scene.claim("w1")
    assert claimed.id == job.id
    assert (claimed.state, claimed.worker_id, claimed.attempts) == (JobState.RUNNING, "w1", 1)
    assert (claimed.lease_until, claimed.started_at) == (NOON + 30, NOON)
    assert await scene.queue.claim("w2", [SCHNELL]) is None


async def test_a_worker_gets_only_what_it_can_draw(scene: Scene) -> None:
    await scene.submit(ANNE, DEV)
    tiny = await scene.submit(BERT, TINY)
    assert await scene.queue.claim("w", []) is None
    assert await scene.queue.claim("w", [SCHNELL]) is None
    assert (await scene.claim("w", SCHNELL, TINY)).id == tiny.id
    assert await scene.queue.claim("w", [SCHNELL, TINY]) is None


async def test_equal_turns_are_taken_in_the_order_of_submission(scene: Scene) -> None:
    first = await scene.submit(ANNE)
    second = await scene.submit(BERT, DEV, request=a_request(DEV, steps=4))
    assert first.start_tag == second.start_tag
    assert [(await scene.claim("w", SCHNELL, DEV)).id for _ in range(2)] == [first.id, second.id]


async def test_a_heartbeat_extends_what_is_owned_and_tells_who_is_to_stop(scene: Scene) -> None:
    jobs = [await scene.submit(account) for account in (ANNE, BERT, CLEO)]
    ids = [job.id for job in jobs]
    await scene.claim("w1")
    await scene.claim("w1")
    await scene.claim("w2")
    await scene.studio.cancel(ids[1], by=BERT.user_id, moderator=False)
    scene.clock.now += 20
    assert await scene.queue.heartbeat("w1", ids) == {ids[0]: False, ids[1]: True}
    assert (await scene.studio.job(ids[0])).lease_until == NOON + 50
    assert (await scene.studio.job(ids[2])).lease_until == NOON + 30
    assert await scene.queue.heartbeat("w1", []) == {}


async def test_a_look_tells_the_same_and_writes_nothing(scene: Scene) -> None:
    job, other = await scene.submit(ANNE), await scene.submit(BERT)
    await scene.claim("w1")
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    version = await scene.studio.changed(None, 0)
    scene.clock.now += 5
    assert await scene.queue.wanted("w1", [job.id, other.id]) == {job.id: True}
    assert await scene.queue.wanted("w2", [job.id]) == {}
    assert await scene.studio.changed(version, 0) == version
    assert (await scene.studio.job(job.id)).lease_until == NOON + 30


async def test_progress_shows_and_old_previews_are_discarded(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    await scene.queue.progress("w1", job.id, 1, 4, "previews/a-1.webp")
    await scene.queue.progress("w1", job.id, 2, 4)
    assert (await scene.studio.job(job.id)).preview_key == "previews/a-1.webp"
    await scene.queue.progress("w1", job.id, 3, 4, "previews/a-3.webp")
    await scene.queue.progress("w2", job.id, 4, 4, "previews/b.webp")
    now = await scene.studio.job(job.id)
    assert (now.steps_done, now.steps_total, now.preview_key) == (3, 4, "previews/a-3.webp")
    assert await scene.db.read(discarded_keys, 10) == ["previews/a-1.webp", "previews/b.webp"]


async def test_success_keeps_pictures_and_the_money(scene: Scene) -> None:
    job = await scene.submit(count=2)
    running = await scene.claim()
    scene.clock.now += 9
    done = await scene.queue.succeed("w1", job.id, pictures(running), provider="local", seconds=5.0)
    assert (done.state, done.provider, done.lease_until) == (JobState.SUCCEEDED, "local", None)
    assert (done.started_at, done.ended_at) == (NOON + 4, NOON + 9)
    assert await scene.studio.pictures(job.id) == pictures(running)
    assert await scene.ledger(job) == [("reserve", TODAY, -2000), ("settle", "settled", 0)]


@pytest.mark.parametrize(
    ("error", "state"), [(OutOfMemory(), JobState.FAILED), (Refused(reason="rules"), JobState.REFUSED)]
)
async def test_failure_gives_the_money_back(scene: Scene, error: OutOfMemory | Refused, state: JobState) -> None:
    job = await scene.submit()
    await scene.claim()
    ended = await scene.queue.fail("w1", job.id, error)
    assert (ended.state, ended.error_code, ended.error_facts) == (state, error.code, error.facts)
    assert await scene.ledger(job) == [("reserve", TODAY, -1000), ("refund", TODAY, 1000)]
    assert (await scene.studio.quota(ANNE)).spent == 0


async def test_a_retryable_failure_goes_back_to_its_place_until_attempts_end(scene: Scene) -> None:
    job = await scene.submit(ANNE)
    await scene.submit(BERT)
    for attempt in (1, 2):
        assert (await scene.claim()).id == job.id
        back = await scene.queue.fail("w1", job.id, DrawingBroken())
        assert (back.state, back.attempts, back.start_tag) == (JobState.QUEUED, attempt, job.start_tag)
        assert (back.worker_id, back.lease_until, back.request.seed) == (None, None, job.request.seed)
    assert (await scene.claim()).attempts == 3
    assert (await scene.queue.fail("w1", job.id, DrawingBroken())).state is JobState.FAILED
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]


async def test_a_cancelled_job_is_not_tried_again(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    asked = await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert (await scene.queue.fail("w1", job.id, DrawingBroken())).state is JobState.CANCELLED
    assert (await scene.studio.quota(ANNE)).spent == 0


async def test_the_worker_ends_a_cancelled_job(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    assert (await scene.queue.cancelled("w1", job.id)).state is JobState.CANCELLED
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]


async def test_handing_back_costs_no_attempt(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    await scene.queue.hand_back("w2", job.id)
    assert (await scene.studio.job(job.id)).state is JobState.RUNNING
    await scene.queue.hand_back("w1", job.id)
    again = await scene.claim("w2")
    assert (again.id, again.attempts, again.start_tag) == (job.id, 1, job.start_tag)
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    await scene.queue.hand_back("w2", job.id)
    assert (await scene.studio.job(job.id)).state is JobState.CANCELLED


async def test_the_providers_own_id_outlives_the_worker(scene: Scene) -> None:
    job = await scene.submit()
    await scene.vendor("acme", worker="a1")
    await scene.claim_hosted("a1")
    await scene.queue.submitted("a1", job.id, "acme", "prediction-1")
    scene.clock.now += 31
    await scene.queue.rescue()
    await scene.vendor("acme", worker="a2")
    again = await scene.claim_hosted("a2")
    assert (again.id, again.provider, again.provider_job_id) == (job.id, "acme", "prediction-1")


async def test_a_worker_that_lost_its_lease_changes_nothing(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim("w1")
    scene.clock.now += 31
    await scene.queue.rescue()
    running = await scene.claim("w2")
    queue = scene.queue
    for late in (
        queue.succeed("w1", job.id, pictures(job), provider="local", seconds=1.0),
        queue.fail("w1", job.id, OutOfMemory()),
        queue.fail("w1", job.id, DrawingBroken()),
        queue.cancelled("w1", job.id),
        queue.submitted("w1", job.id, "elsewhere", "x"),
    ):
        with pytest.raises(LeaseLost):
            await late
    await queue.progress("w1", job.id, 3, 4)
    await queue.hand_back("w1", job.id)
    assert await queue.heartbeat("w1", [job.id]) == {}
    assert await scene.studio.job(job.id) == running
    assert (await scene.succeed(running, "w2")).state is JobState.SUCCEEDED
    with pytest.raises(LeaseLost):
        await scene.succeed(running, "w2")
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "settle"]


async def test_rescue_takes_only_what_expired(scene: Scene) -> None:
    stale, fresh = await scene.submit(ANNE), await scene.submit(BERT)
    await scene.claim("w1")
    scene.clock.now += 29
    await scene.claim("w2")
    assert await scene.queue.rescue() == []
    scene.clock.now += 1
    [back] = await scene.queue.rescue()
    assert (back.id, back.state, back.attempts) == (stale.id, JobState.QUEUED, 1)
    assert (await scene.studio.job(fresh.id)).state is JobState.RUNNING
    assert [job.id for job in await scene.queue.rescue(now=NOON + 100)] == [fresh.id]


async def test_rescue_fails_a_job_that_kills_its_workers(scene: Scene) -> None:
    job = await scene.submit()
    for _ in range(3):
        await scene.claim()
        scene.clock.now += 31
        [after] = await scene.queue.rescue()
    assert (after.state, after.error_code, after.error_facts) == (JobState.FAILED, "worker_lost", {"attempts": 3})
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]


async def test_rescue_cancels_what_was_to_be_cancelled(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    scene.clock.now += 31
    assert [(after.id, after.state) for after in await scene.queue.rescue()] == [(job.id, JobState.CANCELLED)]


@pytest.mark.parametrize("gone", ["restarted", "retired"])
async def test_jobs_of_a_worker_that_is_gone_need_not_wait_for_their_lease(scene: Scene, gone: str) -> None:
    job = await scene.submit()
    await scene.worker("w1")
    await scene.claim("w1")
    await (scene.worker("w1") if gone == "restarted" else scene.queue.retire("w1"))
    assert [after.id for after in await scene.queue.rescue()] == [job.id]


async def test_a_paused_guild_waits_and_others_do_not(scene: Scene) -> None:
    held, running = await scene.submit(ANNE), await scene.submit(BERT)
    abroad = await scene.submit(ABROAD)
    await scene.claim("w1")
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    assert (await scene.claim("w2")).id == abroad.id
    await scene.queue.fail("w1", held.id, DrawingBroken())
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    await scene.studio.line.resume(ANNE.guild_id, by=1)
    assert [(await scene.claim()).id for _ in range(2)] == [held.id, running.id]


async def test_a_job_that_comes_back_after_the_resume_is_free(scene: Scene) -> None:
    job = await scene.submit(ANNE)
    await scene.studio.line.pause(ANNE.guild_id, by=1, reason="storm")
    await scene.studio.line.resume(ANNE.guild_id, by=1)
    await scene.claim()
    await scene.queue.hand_back("w1", job.id)
    assert (await scene.claim()).id == job.id


async def test_a_pause_everywhere_stops_all_claims(scene: Scene) -> None:
    job = await scene.submit(ANNE)
    await scene.studio.line.pause(None, by=1, reason="moving house")
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    await scene.studio.line.resume(None, by=1)
    assert (await scene.claim()).id == job.id


async def test_a_restart_loses_nothing(scene: Scene, database_url: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from tests.database.scene import a_scene

    first, second = await scene.submit(ANNE), await scene.submit(BERT)
    await scene.claim("w1")
    await scene.db.close()
    async with a_scene(database_url, tmp_path) as again:
        again.clock.now += 31
        assert [job.id for job in await again.queue.rescue()] == [first.id]
        assert [(await again.claim()).id for _ in range(2)] == [first.id, second.id]
        assert (await again.studio.quota(ANNE)).spent == 1000
