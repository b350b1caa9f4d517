"""Looking at jobs, stopping them, and their pictures."""

from __future__ import annotations

import asyncio

import pytest

from flux_core.database.pictures import discarded_keys
from flux_core.errors import JobAlreadyEnded, JobNotFound, NotAllowed, PictureGone, StorageUnavailable
from flux_core.images.intake import VettedPicture
from flux_core.jobs import Job, JobState
from tests.database.scene import ANNE, BERT, Scene, a_reply, a_request, pictures

NOBODY = "0" * 24


async def drawn(scene: Scene, count: int = 2) -> Job:
    """A job that ended well, with its pictures in the store."""
    await scene.submit(ANNE, count=count)
    job = await scene.succeed(await scene.claim())
    for picture in pictures(job):
        assert picture.key is not None
        await scene.store.put(picture.key, b"pixels", "image/webp")
    return job


async def test_what_does_not_exist_is_not_found(scene: Scene) -> None:
    studio = scene.studio
    for ask in (
        studio.job(NOBODY),
        studio.cancel(NOBODY, by=1, moderator=True),
        studio.delete_pictures(NOBODY, by=1, moderator=True),
    ):
        with pytest.raises(JobNotFound):
            await ask
    assert await studio.pictures(NOBODY) == []


async def test_cancelling_a_waiting_job_gives_the_money_back_at_once(scene: Scene) -> None:
    job = await scene.submit(ANNE)
    cancelled = await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert (cancelled.state, cancelled.ended_at) == (JobState.CANCELLED, scene.clock.now)
    assert (await scene.studio.quota(ANNE)).spent == 0
    assert await scene.queue.claim("w", ["flux-schnell"]) is None
    with pytest.raises(JobAlreadyEnded) as caught:
        await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert caught.value.facts == {"state": "cancelled"}
    assert [kind for kind, *_ in await scene.ledger(job)] == ["reserve", "refund"]


async def test_cancelling_a_running_job_asks_its_worker(scene: Scene) -> None:
    job = await scene.submit(ANNE)
    await scene.claim()
    asked = await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    assert (await scene.studio.quota(ANNE)).spent == 1000


async def test_cancelling_and_deleting_belong_to_the_member_and_moderators(scene: Scene) -> None:
    job = await drawn(scene)
    waiting = await scene.submit(ANNE)
    with pytest.raises(NotAllowed):
        await scene.studio.cancel(waiting.id, by=BERT.user_id, moderator=False)
    with pytest.raises(NotAllowed):
        await scene.studio.delete_pictures(job.id, by=BERT.user_id, moderator=False)
    assert (await scene.studio.job(waiting.id)).state is JobState.QUEUED
    assert (await scene.studio.cancel(waiting.id, by=BERT.user_id, moderator=True)).state is JobState.CANCELLED
    assert (await scene.studio.delete_pictures(job.id, by=BERT.user_id, moderator=True)).id == job.id


async def test_deleted_pictures_are_gone_everywhere(scene: Scene) -> None:
    job = await drawn(scene)
    keys = [picture.key or "" for picture in await scene.studio.pictures(job.id)]
    assert await scene.studio.picture_bytes(keys[0]) == b"pixels"
    await scene.studio.delete_pictures(job.id, by=ANNE.user_id, moderator=False)
    assert [picture.key for picture in await scene.studio.pictures(job.id)] == [None, None]
    for key in keys:
        with pytest.raises(PictureGone):
            await scene.studio.picture_bytes(key)
    assert await scene.db.read(discarded_keys, 10) == []
    with pytest.raises(PictureGone):
        await scene.studio.delete_pictures(job.id, by=ANNE.user_id, moderator=False)


async def test_pictures_that_the_store_keeps_for_now_are_deleted_later(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(keys: list[str]) -> None:
        raise StorageUnavailable("the bucket is away")

    job = await drawn(scene)
    monkeypatch.setattr(scene.store, "delete", away)
    await scene.studio.delete_pictures(job.id, by=ANNE.user_id, moderator=False)
    assert await scene.db.read(discarded_keys, 10) == [picture.key for picture in pictures(job)]


async def test_uploads_are_kept_by_their_contents(scene: Scene) -> None:
    first = await scene.studio.store_input(VettedPicture(png=b"one", width=3, height=4))
    again = await scene.studio.store_input(VettedPicture(png=b"one", width=3, height=4))
    other = await scene.studio.store_input(VettedPicture(png=b"two", width=3, height=4))
    assert first == again
    assert first.key != other.key
    assert (first.width, first.height) == (3, 4)
    assert await scene.studio.picture_bytes(first.key) == b"one"


async def test_jobs_are_listed_newest_first_in_pages(scene: Scene) -> None:
    jobs = [await scene.submit(ANNE) for _ in range(5)]
    await scene.submit(BERT)
    await scene.succeed(await scene.claim())
    await scene.claim()
    newest = [job.id for job in reversed(jobs)]
    everything = await scene.studio.jobs_of(ANNE, active_only=False)
    assert [job.id for job in everything] == newest
    first = await scene.studio.jobs_of(ANNE, active_only=False, limit=2)
    second = await scene.studio.jobs_of(ANNE, active_only=False, limit=2, before=first[-1].id)
    assert [job.id for job in first + second] == newest[:4]
    active = await scene.studio.jobs_of(ANNE)
    assert [job.id for job in active] == [job.id for job in everything if not job.state.ended]
    assert [job.id for job in await scene.studio.jobs_of(ANNE, limit=2)] == [job.id for job in active[:2]]


async def test_recent_prompts_are_different_and_begin_as_asked(scene: Scene) -> None:
    for prompt in ("A red circle", "a blue square", "A red circle", "Äpfel", "a red car"):
        await scene.submit(ANNE, request=a_request(prompt=prompt))
    await scene.submit(BERT, request=a_request(prompt="a red secret"))
    prompts = scene.studio.recent_prompts
    assert await prompts(ANNE, "") == ["a red car", "Äpfel", "A red circle", "a blue square"]
    assert await prompts(ANNE, " A RED") == ["a red car", "A red circle"]
    assert await prompts(ANNE, "äp") == ["Äpfel"]
    assert await prompts(ANNE, "", limit=1) == ["a red car"]
    assert await prompts(ANNE, "%") == []


async def test_waiting_for_changes_ends_with_the_first_one(scene: Scene) -> None:
    version = await scene.studio.changed(None, 0)
    waiting = asyncio.create_task(scene.studio.changed(version, 20))
    job = await scene.submit(ANNE, reply_to=a_reply())
    assert await waiting != version
    version = await scene.studio.changed(None, 0)
    await scene.claim()
    waiting = asyncio.create_task(scene.studio.changed(version, 20))
    await scene.queue.progress("w1", job.id, 1, 4)
    assert await waiting != version
