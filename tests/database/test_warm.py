"""Workers with some of their models in memory, on both databases."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.affinity import PASSES
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.tables import guilds, jobs, virtual_time
from flux_core.jobs import Account
from tests.database.scene import DEV, SCHNELL, Scene

MODELS = (SCHNELL, DEV)


async def test_a_job_is_passed_over_a_few_times_and_no_more(scene: Scene) -> None:
    cold = await scene.submit(Account(1, 1), DEV)
    warm = [await scene.submit(Account(1, user), SCHNELL) for user in range(2, PASSES + 5)]
    taken = [await scene.queue.claim("w1", MODELS, {SCHNELL}) for _ in range(PASSES + 2)]
    expected = [*warm[:PASSES], cold, warm[PASSES]]
    assert [job and job.id for job in taken] == [job.id for job in expected]
    assert await scene.db.read(discrepancies) == []


async def test_several_workers_count_together(scene: Scene) -> None:
    cold = await scene.submit(Account(1, 1), DEV)
    for user in range(2, 12):
        await scene.submit(Account(1, user), SCHNELL)
    taken = [await scene.queue.claim(f"w{number}", MODELS, {SCHNELL}) for number in range(PASSES + 1)]
    assert [job and job.id for job in taken].index(cold.id) == PASSES


async def test_who_has_the_model_or_all_of_them_takes_turns(scene: Scene) -> None:
    first = await scene.submit(Account(1, 1), DEV)
    second = await scene.submit(Account(1, 2), SCHNELL)
    taken = [await scene.queue.claim("w1", MODELS, loaded) for loaded in (set(MODELS), {DEV})]
    assert [job and job.id for job in taken] == [first.id, second.id]


async def test_guilds_are_charged_and_time_waits_for_who_was_passed_over(scene: Scene) -> None:
    await scene.submit(Account(1, 1), DEV)
    early = await scene.submit(Account(2, 2), SCHNELL)
    job = await scene.queue.claim("w1", MODELS, {SCHNELL})
    assert job is not None
    assert job.id == early.id

    def turns(connection: Connection) -> tuple[dict[int, float], float]:
        finish = {row.guild_id: row.finish for row in connection.execute(sa.select(guilds))}
        return finish, connection.execute(sa.select(virtual_time.c.value)).scalar_one()

    finish, now = await scene.db.read(turns)
    assert finish == {1: 0.0, 2: float(job.price)}
    assert now == 0.0
    passed = await scene.db.read(
        lambda connection: Counter(connection.execute(sa.select(jobs.c.passed_over)).scalars().all())
    )
    assert passed == {0: 1, 1: 1}
