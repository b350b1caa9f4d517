"""Jobs held because their member has too many running wait no longer than that holds."""

from __future__ import annotations

from flux_core.database.bookkeeping import discrepancies
from flux_core.jobs import Account, Job
from flux_core.policy.guild import Limits
from tests.database.scene import ANNE, BERT, CLEO, SCHNELL, Scene


async def limit(scene: Scene, most: int | None, account: Account = ANNE) -> None:
    """Let somebody have ``most`` jobs running, from their next one on."""
    await scene.studio.members.change_limits(account, lambda before: Limits(max_running=most), by=1)


async def held(scene: Scene, *jobs: Job) -> list[bool]:
    """Say which of the jobs nobody may claim."""
    return [await scene.column(job, "waits_for") is None for job in jobs]


async def test_a_limit_that_is_lifted_lets_what_it_held_go(scene: Scene) -> None:
    await limit(scene, 1)
    first, second = await scene.submit(), await scene.submit()
    assert (await scene.claim()).id == first.id
    assert await held(scene, second) == [True]
    await limit(scene, None)
    third = await scene.submit()
    assert await held(scene, second, third) == [False, False]
    assert await scene.db.read(discrepancies) == []


async def test_a_limit_that_is_lowered_holds_what_waits(scene: Scene) -> None:
    first, second = await scene.submit(), await scene.submit()
    assert (await scene.claim()).id == first.id
    await limit(scene, 1)
    third = await scene.submit()
    assert await held(scene, second, third) == [True, True]
    assert await scene.queue.claim("w1", [SCHNELL]) is None
    await scene.succeed(first)
    assert (await scene.claim()).id == second.id
    assert await scene.db.read(discrepancies) == []


async def test_the_end_of_a_job_lets_its_own_members_next_one_go(scene: Scene) -> None:
    await scene.submit(BERT)  # whose row comes first, without a limit
    await scene.succeed(await scene.claim())
    await limit(scene, 1, CLEO)
    first, second = await scene.submit(CLEO), await scene.submit(CLEO)
    assert (await scene.claim()).id == first.id
    assert await held(scene, second) == [True]
    await scene.succeed(first)
    assert await held(scene, second) == [False]
    assert await scene.db.read(discrepancies) == []


async def test_what_waits_for_a_moderator_is_not_let_go_with_it(scene: Scene) -> None:
    await limit(scene, 1)
    job = await scene.submit()
    await scene.db.write(
        lambda connection: connection.exec_driver_sql(
            "UPDATE jobs SET held = 'approval', waits_for = NULL, waits_hosted = NULL"
        )
    )
    await limit(scene, None)
    await scene.submit()
    assert await held(scene, job) == [True]
    assert await scene.db.read(discrepancies) == []


async def test_what_a_lifted_limit_lets_go_delays_others_by_one_job(scene: Scene) -> None:
    await limit(scene, 1)
    flood = [await scene.submit(ANNE) for _ in range(5)]
    for _ in range(4):
        await scene.submit(BERT)
    # While one of hers is drawn, his come before those of hers that are held.
    assert [(await scene.claim()).account for _ in range(5)] == [ANNE, BERT, BERT, BERT, BERT]
    await limit(scene, None)
    last = await scene.submit(ANNE)
    newcomer = await scene.submit(CLEO)
    order = [(await scene.claim()).id for _ in range(6)]
    assert order.index(newcomer.id) <= 1
    assert [id for id in order if id != newcomer.id] == [job.id for job in (*flood[1:], last)]
    assert (last.start_tag, last.finish_tag) == (await scene.column(last, "start_tag"), last.start_tag + 1000)
    assert await scene.db.read(discrepancies) == []
