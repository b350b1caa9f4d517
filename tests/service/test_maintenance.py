"""The chores, each on real rows and real files."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from flux_core import maintenance
from flux_core.database import workers
from flux_core.database.pictures import discard, discarded_keys
from flux_core.errors import PictureGone, StorageUnavailable
from flux_core.images.intake import VettedPicture
from flux_core.jobs import JobState
from flux_core.maintenance import Chore, chores, maintain
from flux_core.router import RoutingPolicy
from tests.database.scene import ANNE, BERT, CLEO, DAY, Scene, a_reply, a_request


async def do(scene: Scene, *names: str) -> list[int]:
    """Run the chores whose names contain ``names`` once, in this order."""
    found = [chore for name in names for chore in chores(scene.db, scene.queue, scene.store) if name in chore.name]
    assert len(found) == len(names)
    return [await chore.work() for chore in found]


async def test_lost_jobs_are_rescued(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    assert await do(scene, "rescued") == [0]
    scene.clock.now += 31
    assert await do(scene, "rescued") == [1]
    assert (await scene.studio.job(job.id)).state is JobState.QUEUED


async def test_after_the_database_was_away_workers_get_the_time_to_say_that_they_live(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = await scene.submit(ANNE), await scene.submit(BERT)
    await scene.claim("w1")
    await scene.claim("w2")
    [rescue] = [chore for chore in chores(scene.db, scene.queue, scene.store) if "rescued" in chore.name]

    async def away(*_: object) -> None:
        raise StorageUnavailable("away")

    with monkeypatch.context() as outage:
        outage.setattr(scene.db, "write", away)
        with pytest.raises(StorageUnavailable):
            await rescue.work()
        scene.clock.now += 60  # longer than any lease
        outage.setattr(scene.db, "read", away)
        with pytest.raises(StorageUnavailable):
            await rescue.work()
    assert await rescue.work() == 0
    assert await scene.queue.heartbeat("w1", [kept.id]) == {kept.id: False}
    scene.clock.now += 14
    assert await rescue.work() == 0
    scene.clock.now += 2
    assert await rescue.work() == 1
    assert (await scene.studio.job(kept.id)).state is JobState.RUNNING
    assert (await scene.studio.job(lost.id)).state is JobState.QUEUED


async def test_what_no_provider_takes_is_left_to_our_own_cards(scene: Scene) -> None:
    await scene.vendor()
    await scene.studio.set_routing(ANNE.guild_id, RoutingPolicy(first="hosted"), by=1)
    job = await scene.submit(ANNE)
    await scene.queue.retire("acme")
    await scene.worker("w1")
    assert await do(scene, "left to our own cards", "left to our own cards") == [1, 0]
    assert (await scene.claim("w1")).id == job.id


async def test_jobs_whose_provider_is_gone_are_given_up(scene: Scene) -> None:
    await scene.vendor()
    job = await scene.submit(ANNE)
    await scene.claim_hosted()
    await scene.queue.submitted("acme", job.id, "acme", "prediction-1")
    await scene.queue.retire("acme")
    assert await do(scene, "rescued", "given up") == [1, 0]
    scene.clock.now += 600
    assert await do(scene, "given up") == [1]
    assert (await scene.studio.job(job.id)).state is JobState.FAILED
    assert (await scene.studio.quota(ANNE)).spent == 0


async def test_silent_workers_are_forgotten(scene: Scene) -> None:
    await scene.worker("silent")
    scene.clock.now += 500
    await scene.worker("alive")
    scene.clock.now += 200
    await scene.queue.beat("alive")
    assert await do(scene, "workers forgotten") == [1]
    assert [worker.id for worker in await scene.db.read(workers.alive, 0.0)] == ["alive"]


async def test_previews_go_when_their_job_has_ended_for_a_while(scene: Scene) -> None:
    jobs = [await scene.submit(account) for account in (ANNE, BERT)]
    for job in jobs:
        await scene.claim()
        await scene.store.put(f"previews/{job.id}.webp", b"pixels", "image/webp")
        await scene.queue.progress("w1", job.id, 2, 4, f"previews/{job.id}.webp")
    await scene.succeed(jobs[0])
    assert await do(scene, "previews", "discarded") == [0, 0]
    scene.clock.now += 61
    assert await do(scene, "previews", "discarded", "previews") == [1, 1, 0]
    with pytest.raises(PictureGone):
        await scene.store.get(f"previews/{jobs[0].id}.webp")
    assert await scene.store.get(f"previews/{jobs[1].id}.webp") == b"pixels"
    assert (await scene.studio.job(jobs[0].id)).preview_key is None


async def test_expired_tokens_are_forgotten(scene: Scene) -> None:
    old = await scene.submit(ANNE, reply_to=a_reply(expires=scene.clock.now + 10))
    new = await scene.submit(BERT, reply_to=a_reply(expires=scene.clock.now + 100))
    await scene.submit(CLEO)
    scene.clock.now += 11
    assert await do(scene, "tokens", "tokens") == [1, 0]
    assert await scene.column(old, "interaction_token") is None
    assert await scene.column(new, "interaction_token") == "a-secret"
    assert len(await scene.studio.live_jobs()) == 2


async def test_uploads_without_a_job_go_and_others_stay(scene: Scene) -> None:
    unused, used, mask, fresh = [
        await scene.studio.store_input(VettedPicture(png=png, width=64, height=64)) for png in (b"1", b"2", b"4", b"3")
    ]
    request = a_request().model_copy(update={"input_picture": used, "input_mask": mask})
    await scene.submit(request=request)
    scene.clock.now += DAY + 1
    await scene.studio.store_input(VettedPicture(png=b"3", width=64, height=64))
    assert await do(scene, "uploads", "discarded") == [1, 1]
    with pytest.raises(PictureGone):
        await scene.store.get(unused.key)
    assert await scene.store.get(used.key) == b"2"
    assert await scene.store.get(mask.key) == b"4"
    assert await scene.store.get(fresh.key) == b"3"


async def test_orders_that_come_to_nothing_do_not_fill_the_store_with_uploads(scene: Scene) -> None:
    kept, lost = [
        await scene.studio.store_input(VettedPicture(png=png, width=64, height=64)) for png in (b"kept", b"lost")
    ]
    await scene.submit(request=a_request().model_copy(update={"input_picture": kept, "strength": 0.6}))
    await scene.succeed(await scene.claim())
    scene.clock.now += DAY
    job = await scene.submit(request=a_request().model_copy(update={"input_picture": lost, "input_mask": kept}))
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)
    scene.clock.now += DAY
    assert await do(scene, "uploads") == [0], "it may be tried again for a day"
    scene.clock.now += 1
    assert await do(scene, "uploads", "discarded") == [1, 1]
    with pytest.raises(PictureGone):
        await scene.store.get(lost.key)
    assert await scene.store.get(kept.key) == b"kept"


async def test_an_upload_that_comes_again_is_not_deleted(scene: Scene) -> None:
    again = await scene.studio.store_input(VettedPicture(png=b"1", width=64, height=64))
    scene.clock.now += DAY + 1
    assert await do(scene, "uploads") == [1]
    await scene.studio.store_input(VettedPicture(png=b"1", width=64, height=64))
    assert await do(scene, "discarded") == [0]
    assert await scene.store.get(again.key) == b"1"


async def test_an_upload_that_comes_again_while_others_are_being_deleted_stays(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = [VettedPicture(png=png, width=64, height=64) for png in (b"1", b"2")]
    kept = [await scene.studio.store_input(upload) for upload in uploads]
    scene.clock.now += DAY + 1
    assert await do(scene, "uploads") == [2]
    first, second = sorted(zip(kept, uploads, strict=True), key=lambda one: one[0].key)
    delete = scene.store.delete

    async def slow(keys: list[str]) -> None:
        await delete(keys)
        if keys == [first[0].key]:
            await scene.studio.store_input(second[1])

    monkeypatch.setattr(scene.store, "delete", slow)
    assert await do(scene, "discarded", "discarded") == [1, 0]
    assert await scene.store.get(second[0].key) == second[1].png


async def test_what_the_store_keeps_is_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await scene.submit()
    await scene.claim()
    await scene.queue.progress("w1", job.id, 1, 4, "previews/a.webp")
    await scene.queue.progress("w1", job.id, 2, 4, "previews/b.webp")

    async def away(keys: list[str]) -> None:
        raise StorageUnavailable("the bucket is away")

    with monkeypatch.context() as patched:
        patched.setattr(scene.store, "delete", away)
        with pytest.raises(StorageUnavailable):
            await do(scene, "discarded")
    assert await scene.db.read(discarded_keys, 10) == ["previews/a.webp"]
    assert await do(scene, "discarded", "discarded") == [1, 0]


async def test_a_chore_goes_on_when_the_storage_was_away_and_ends_when_told(caplog: pytest.LogCaptureFixture) -> None:
    rounds = 0
    stop = asyncio.Event()

    async def work() -> int:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise StorageUnavailable("the disk is away")
        if rounds == 3:
            stop.set()
        return rounds

    with caplog.at_level(logging.INFO, "flux_core.maintenance"):
        await asyncio.wait_for(Chore("things counted", 0.001, work).run(stop), 20)
    assert rounds == 3
    assert caplog.messages == [
        "things counted has to wait: the disk is away",
        "things counted: 2",
        "things counted: 3",
    ]


async def test_jobs_are_rescued_whatever_breaks_another_chore(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.db.write(discard, ["previews/a.webp"], scene.clock.now)
    broken = asyncio.Event()

    async def unforeseen(keys: list[str]) -> None:
        broken.set()
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(scene.store, "delete", unforeseen)
    stop = asyncio.Event()
    scene.queue.lease_seconds = 0.03  # a round every 10 ms
    running = asyncio.create_task(maintain(scene.db, scene.queue, scene.store, stop))
    await asyncio.wait_for(broken.wait(), 20)
    job = await scene.submit()
    await scene.claim()
    scene.clock.now += 31
    version = None
    async with asyncio.timeout(20):
        while (await scene.studio.job(job.id)).state is not JobState.QUEUED:
            version = await scene.studio.changed(version, 5)
    stop.set()
    await asyncio.wait_for(running, 20)
    assert "discarded pictures deleted: a round broke off" in caplog.messages


async def test_a_picture_that_cannot_be_deleted_keeps_no_other_from_going(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "BATCH", 2)
    stuck = tmp_path / "pictures" / "pictures" / "a" / "0.webp"
    stuck.mkdir(parents=True)  # a folder in its place: whoever we are, it cannot be deleted as a file
    (stuck / "inside").touch()
    keys = [f"pictures/{name}/0.webp" for name in "bcd"]
    for key in keys:
        await scene.store.put(key, b"x", "image/webp")
    for key in ["pictures/a/0.webp", *keys]:
        await scene.db.write(discard, [key], scene.clock.now)
        scene.clock.now += 1
    with pytest.raises(StorageUnavailable, match=r"Cannot delete pictures/a/0\.webp"):
        await do(scene, "discarded")
    assert await scene.db.read(discarded_keys, 10) == [*keys[1:], "pictures/a/0.webp"]
    assert await do(scene, "discarded") == [2]
    assert await scene.db.read(discarded_keys, 10) == ["pictures/a/0.webp"]
    (stuck / "inside").unlink()
    stuck.rmdir()
    assert await do(scene, "discarded") == [1]
    assert await scene.db.read(discarded_keys, 10) == []


async def test_a_store_that_is_away_is_asked_no_longer_than_it_takes_to_notice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def away(keys: list[str]) -> None:
        asked.extend(keys)
        raise StorageUnavailable("away")

    keys = [f"pictures/{name}/0.webp" for name in "abcdefgh"]
    await scene.db.write(discard, keys, scene.clock.now)
    monkeypatch.setattr(scene.store, "delete", away)
    with pytest.raises(StorageUnavailable):
        await do(scene, "discarded")
    assert len(asked) == maintenance.STUCK
    assert sorted(await scene.db.read(discarded_keys, 10)) == keys


async def test_maintenance_does_all_its_chores_and_ends_when_told(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    scene.clock.now += 31
    stop = asyncio.Event()
    running = asyncio.create_task(maintain(scene.db, scene.queue, scene.store, stop))
    version = None
    while (await scene.studio.job(job.id)).state is not JobState.QUEUED:
        version = await scene.studio.changed(version, 5)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert {f"maintenance: {chore.name}" for chore in chores(scene.db, scene.queue, scene.store)} <= names
    stop.set()
    await asyncio.wait_for(running, 20)
