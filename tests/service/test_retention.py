"""How long things are kept: what goes when its time is over, what has to wait, and what stays in any case."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core import maintenance
from flux_core.bootstrap import open_studio, retention
from flux_core.database.tables import jobs, pictures
from flux_core.errors import ConfigurationError, JobNotFound, PictureGone
from flux_core.generation import InputPicture
from flux_core.images.intake import VettedPicture
from flux_core.jobs import Account, Job, JobState
from flux_core.maintenance import Retention, chores
from flux_core.settings import Settings, load_settings
from flux_core.variations import variation_request
from tests.database.scene import ANNE, BERT, CATALOGUE, CLEO, DAY, Scene, a_reply, a_request

ROOT = Path(__file__).parents[2]
PICTURES = "pictures were kept long enough"
JOBS = "forgotten that were kept long enough"
MONTH = Retention(pictures_days=30)
YEAR = Retention(pictures_days=30, jobs_days=365)


async def do(scene: Scene, kept: Retention, *names: str) -> list[int]:
    """Run the chores whose names contain ``names`` once, in this order."""
    known = chores(scene.db, scene.queue, scene.store, kept)
    found = [chore for name in names for chore in known if name in chore.name]
    assert len(found) == len(names)
    return [await chore.work() for chore in found]


async def drawn(scene: Scene, account: Account = ANNE, **more: Any) -> Job:
    """Submit a job and draw it, files and all."""
    job = await scene.submit(account, **more)
    claimed = await scene.claim()
    assert claimed.id == job.id
    for position in range(job.request.count):
        await scene.store.put(f"pictures/{job.id}/{position}.webp", b"pixels", "image/webp")
    return await scene.succeed(claimed)


async def files(scene: Scene) -> list[str]:
    return [stored.key for stored in await scene.store.list()]


async def kept_of(scene: Scene, job: Job) -> str:
    return str(await scene.column(job, "kept"))


async def test_pictures_go_when_their_time_is_over_and_the_job_stays(scene: Scene) -> None:
    old = await drawn(scene, count=2)
    scene.clock.now += DAY
    young = await drawn(scene, BERT)
    scene.clock.now += 29 * DAY
    assert await do(scene, MONTH, PICTURES) == [0]
    scene.clock.now += 1
    assert await do(scene, MONTH, PICTURES, PICTURES, "discarded") == [1, 0, 2]
    assert await files(scene) == [f"pictures/{young.id}/0.webp"]
    assert [picture.key for picture in await scene.studio.pictures(old.id)] == [None, None]
    assert (await scene.studio.job(old.id)).request.prompt == "a red circle"
    with pytest.raises(PictureGone):
        await scene.studio.delete_pictures(old.id, by=1, moderator=False)
    assert (await scene.studio.pictures(young.id))[0].key == f"pictures/{young.id}/0.webp"


async def test_by_default_everything_is_kept_for_ever(scene: Scene) -> None:
    names = [chore.name for chore in chores(scene.db, scene.queue, scene.store)]
    assert not [name for name in names if "kept long enough" in name]
    used = await scene.studio.store_input(VettedPicture(png=b"1", width=64, height=64))
    job = await drawn(scene, request=a_request().model_copy(update={"input_picture": used, "strength": 0.5}))
    scene.clock.now += 1000 * DAY
    for chore in chores(scene.db, scene.queue, scene.store):
        await chore.work()
    assert await files(scene) == [used.key, f"pictures/{job.id}/0.webp"]


async def test_many_go_a_few_at_a_time_the_oldest_first(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "JOBS_AT_ONCE", 2)
    old = []
    for _ in range(3):
        old.append(await drawn(scene))
        scene.clock.now += 1
    scene.clock.now += 31 * DAY
    assert await do(scene, MONTH, PICTURES) == [2]
    assert [await kept_of(scene, job) for job in old] == ["words", "words", "all"]
    assert await do(scene, MONTH, PICTURES, PICTURES) == [1, 0]
    scene.clock.now += 365 * DAY
    assert await do(scene, YEAR, JOBS, JOBS, JOBS) == [2, 1, 0]


async def test_jobs_that_drew_nothing_are_no_trouble(scene: Scene) -> None:
    deleted = await drawn(scene)
    await scene.studio.delete_pictures(deleted.id, by=1, moderator=False)
    cancelled = await scene.submit()
    await scene.studio.cancel(cancelled.id, by=1, moderator=False)
    waiting = await scene.submit()
    scene.clock.now += 1000 * DAY
    assert await do(scene, YEAR, PICTURES, PICTURES, JOBS, JOBS) == [2, 0, 2, 0]
    assert (await scene.studio.job(waiting.id)).state is JobState.QUEUED


async def test_an_upload_goes_with_the_last_job_that_started_from_it(scene: Scene) -> None:
    shared, mask = [await scene.studio.store_input(VettedPicture(png=png, width=64, height=64)) for png in (b"1", b"2")]
    request = a_request().model_copy(update={"input_picture": shared, "input_mask": mask})
    await drawn(scene, ANNE, request=request)
    scene.clock.now += 20 * DAY
    await drawn(scene, BERT, request=request)
    scene.clock.now += 11 * DAY
    assert await do(scene, MONTH, PICTURES, "uploads", "discarded") == [1, 0, 1]
    assert await scene.store.get(shared.key) == b"1"
    assert await scene.store.get(mask.key) == b"2"
    scene.clock.now += 20 * DAY
    assert await do(scene, MONTH, PICTURES, "uploads", "discarded") == [1, 2, 3]
    assert await files(scene) == []


async def test_whoever_still_waits_for_the_answer_gets_it_first(scene: Scene) -> None:
    pending = await drawn(scene, ANNE, reply_to=a_reply())
    delivered = await drawn(scene, BERT, reply_to=a_reply())
    given_up = await drawn(scene, CLEO, reply_to=a_reply())
    await scene.studio.delivered(delivered.id)
    await scene.studio.give_up_delivery(given_up.id, "the channel is gone")
    scene.clock.now += 1000 * DAY
    assert await do(scene, YEAR, PICTURES, JOBS) == [2, 2]
    assert [await kept_of(scene, job) for job in (pending, delivered, given_up)] == ["all", "nothing", "nothing"]
    assert await scene.studio.jobs_of(CLEO) == []
    assert [live.job.id for live in await scene.studio.live_jobs()] == [pending.id]
    await scene.studio.delivered(pending.id)
    assert await do(scene, YEAR, JOBS) == [1]


async def test_a_variation_that_waits_keeps_the_picture_it_starts_from(scene: Scene) -> None:
    parent = await drawn(scene)
    [picture] = await scene.studio.pictures(parent.id)
    request = variation_request(parent, picture, CATALOGUE)
    assert request.input_picture is not None
    scene.clock.now += 1000 * DAY
    await scene.submit(request=request, parent_id=parent.id, parent_position=0)
    assert await do(scene, YEAR, PICTURES, JOBS) == [0, 0]
    child = await scene.claim()
    assert await do(scene, YEAR, PICTURES, JOBS) == [0, 0]
    await scene.succeed(child)
    assert await do(scene, YEAR, PICTURES, JOBS) == [1, 1]


async def test_a_forgotten_job_says_nothing_of_its_member_and_the_books_still_balance(scene: Scene) -> None:
    upload, mask = [await scene.studio.store_input(VettedPicture(png=png, width=64, height=64)) for png in (b"1", b"2")]
    given = {"input_picture": upload, "input_mask": mask}
    request = a_request(prompt="my most private wish").model_copy(update=given)
    old = await drawn(scene, request=request, reply_to=a_reply(message_id=777_000_777_000_777), key="interaction-1")
    await scene.studio.give_up_delivery(old.id, "the channel 12 is gone")
    books, quota = await scene.ledger(old), await scene.studio.quota(ANNE)
    scene.clock.now += 300 * DAY
    young = await drawn(scene)
    spent = (await scene.studio.quota(ANNE)).granted
    scene.clock.now += 66 * DAY
    assert await do(scene, Retention(jobs_days=365), JOBS, JOBS, "uploads", "discarded") == [1, 0, 0, 3]
    with pytest.raises(JobNotFound):
        await scene.studio.job(old.id)
    with pytest.raises(JobNotFound):
        await scene.studio.delete_pictures(old.id, by=1, moderator=True)
    assert [job.id for job in await scene.studio.jobs_of(ANNE, active_only=False)] == [young.id]
    assert await scene.studio.jobs_of(ANNE) == []
    assert await scene.studio.recent_prompts(ANNE, "") == ["a red circle"]
    assert await scene.studio.pictures(old.id) == []
    assert await files(scene) == [f"pictures/{young.id}/0.webp"]

    def rows(connection: Connection) -> str:
        of_job = sa.select(jobs).where(jobs.c.id == old.id), sa.select(pictures).where(pictures.c.job_id == old.id)
        return str([tuple(row) for query in of_job for row in connection.execute(query)])

    left = await scene.db.read(rows)
    for word in ("wish", upload.key, mask.key, "777000777000777", "interaction-1", "gone", f"pictures/{old.id}"):
        assert word not in left
    assert await scene.ledger(old) == books
    assert (quota.granted, (await scene.studio.quota(ANNE)).granted) == (spent, spent)
    again = await scene.submit(key="interaction-1")
    assert again.id != old.id


async def test_a_preview_that_was_not_dropped_yet_goes_with_its_job(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    await scene.store.put(f"previews/{job.id}/a.webp", b"pixels", "image/webp")
    await scene.queue.progress("w1", job.id, 2, 4, f"previews/{job.id}/a.webp")
    await scene.succeed(job)
    scene.clock.now += 366 * DAY
    assert await do(scene, YEAR, JOBS, "discarded") == [1, 2]
    assert await files(scene) == []


async def test_a_request_without_words_can_still_be_read(scene: Scene) -> None:
    source = InputPicture(key="inputs/a.png", width=64, height=64)
    request = a_request().model_copy(update={"input_picture": source, "input_mask": source})
    job = await drawn(scene, request=request)
    scene.clock.now += 366 * DAY
    assert await do(scene, YEAR, JOBS) == [1]
    left = type(request).model_validate_json(await scene.column(job, "request"))
    assert left == request.model_copy(update={"prompt": "", "input_picture": None, "input_mask": None})


def test_the_settings_say_how_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert retention(Settings()) == Retention(0, 0)
    assert retention(load_settings(keep_pictures_days=30, keep_jobs_days=30)) == Retention(30, 30)
    assert retention(load_settings(keep_pictures_days=30)) == MONTH
    assert retention(load_settings(keep_jobs_days=1)) == Retention(0, 1)
    for wrong in (
        {"keep_pictures_days": 31, "keep_jobs_days": 30},
        {"keep_pictures_days": -1},
        {"keep_jobs_days": "soon"},
    ):
        with pytest.raises(ConfigurationError, match=r"KEEP_(JOBS|PICTURES)_DAYS"):
            load_settings(**wrong)


async def made_long_ago(scene: Scene) -> None:
    """Let every job have ended when no clock of today would call it new."""
    await scene.db.write(lambda connection: connection.execute(sa.update(jobs).values(ended_at=1.0)).rowcount)


async def until_kept(scene: Scene, job: Job, kept: str) -> None:
    """Wait until another process, or another part of this one, has let go."""
    async with asyncio.timeout(30):
        while await kept_of(scene, job) != kept:  # noqa: ASYNC110 (other processes set no event of ours)
            await asyncio.sleep(0.02)


async def test_the_bots_process_lets_go_as_its_settings_say(scene: Scene, database_url: str, tmp_path: Path) -> None:
    job = await drawn(scene)
    settings = load_settings(
        database_url=database_url, picture_store=str(tmp_path / "pictures"), data_dir=tmp_path, keep_pictures_days=1
    )
    await made_long_ago(scene)
    async with open_studio(settings):
        await until_kept(scene, job, "words")


async def test_a_workers_process_lets_go_as_its_settings_say(scene: Scene, database_url: str, tmp_path: Path) -> None:
    job = await drawn(scene)
    await made_long_ago(scene)
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "PICTURE_STORE": str(tmp_path / "pictures"),
        "FLUX_TINY_PATH": "scripted",
        "KEEP_JOBS_DAYS": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.worker.scripted_worker", "0.01", cwd=tmp_path, env=settings
    )
    try:
        await until_kept(scene, job, "nothing")
    finally:
        process.kill()
        await process.wait()
