"""What comes back of granted credits after they have expired can be spent all the same, for another day."""

from __future__ import annotations

from flux_core.database.bookkeeping import discrepancies
from flux_core.errors import OutOfMemory
from flux_core.jobs import Job
from flux_core.models import CREDIT
from tests.database.scene import ANNE, DAY, Scene, pictures

HOUR = 3600.0


async def paid_from_a_grant(scene: Scene, count: int = 1) -> Job:
    """Have Anne order with credits that expire in an hour, and with nothing else."""
    await scene.studio.members.grant(ANNE, CREDIT * count, by=9, reason="", expires_at=scene.clock.now + HOUR)
    return await scene.submit(ANNE, count=count)


async def left(scene: Scene) -> tuple[int, list[float]]:
    """Return what Anne has left of granted credits, and in how many hours that expires."""
    quota = await scene.studio.quota(ANNE)
    return quota.granted, [(at - scene.clock.now) / HOUR for _, at in quota.expiring]


async def test_what_came_to_nothing_is_paid_back_for_a_day(scene: Scene) -> None:
    await paid_from_a_grant(scene)
    job = await scene.claim()
    scene.clock.now += 2 * HOUR
    assert await left(scene) == (0, [])
    await scene.queue.fail("w1", job.id, OutOfMemory())
    assert await left(scene) == (CREDIT, [24])
    assert await scene.db.read(discrepancies) == []
    scene.clock.now += DAY
    assert await left(scene) == (0, [])


async def test_so_is_the_part_that_was_not_drawn(scene: Scene) -> None:
    await paid_from_a_grant(scene, count=2)
    job = await scene.claim()
    scene.clock.now += 2 * HOUR
    await scene.queue.succeed("w1", job.id, pictures(job)[:1], provider="local", seconds=1.0, missing=1)
    assert await left(scene) == (CREDIT, [24])
    assert await scene.db.read(discrepancies) == []


async def test_what_comes_back_in_time_expires_as_it_was_said(scene: Scene) -> None:
    job = await paid_from_a_grant(scene)
    await scene.studio.cancel(job.id, by=1, moderator=False)
    assert await left(scene) == (CREDIT, [1])


async def test_clocks_that_are_set_back_give_nothing_twice(scene: Scene) -> None:
    await paid_from_a_grant(scene)
    job = await scene.claim()
    scene.clock.now += 2 * HOUR
    await scene.queue.fail("w1", job.id, OutOfMemory())
    scene.clock.now -= 2 * HOUR
    assert (await left(scene))[0] == CREDIT
