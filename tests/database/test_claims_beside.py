"""Claims on a server at the same moment: nobody waits for who else claims, and turns stay within their bound."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.util import await_only

from flux_core.database import locks
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.tables import guilds, jobs, members
from flux_core.jobs import Account
from flux_core.policy import GuildPolicy, Limits
from tests.database import postgres
from tests.database.scene import SCHNELL, Scene, a_scene

AT_ONCE = 6


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A studio on a server, with a connection for each of those who claim."""
    url = await postgres.new_database()
    async with a_scene(url, tmp_path, pool=AT_ONCE + 2, allowance=10**9, max_waiting=10**6) as scene:
        yield scene


async def test_a_job_that_somebody_is_taking_is_passed_by(scene: Scene) -> None:
    first, second = [await scene.submit(Account(7, user)) for user in (1, 2)]
    locked, done = asyncio.Event(), asyncio.Event()

    @locks.beside_others
    def hold(connection: Connection) -> None:
        connection.execute(sa.select(jobs.c.id).where(jobs.c.id == first.id).with_for_update())
        locked.set()
        await_only(done.wait())

    holding = asyncio.create_task(scene.db.write(hold))
    await locked.wait()
    taken = await scene.queue.claim("quick", [SCHNELL])  # would wait for ever if it waited at all
    done.set()
    await holding
    later = await scene.queue.claim("quick", [SCHNELL])
    assert [job and job.id for job in (taken, later)] == [second.id, first.id]


async def test_turns_stay_within_the_bound_while_many_claim_at_once(scene: Scene) -> None:
    """Guilds that always have work waiting get the same but for a turn for each claim under way."""
    for number in range(24):
        for guild in (7, 8, 9):
            await scene.submit(Account(guild, number))
    got: Counter[int] = Counter()
    price = 0
    for _ in range(8):
        taken = await asyncio.gather(*(scene.queue.claim(f"w{number}", [SCHNELL]) for number in range(AT_ONCE)))
        assert all(taken)
        assert len({job.id for job in taken if job is not None}) == AT_ONCE
        got.update(job.account.guild_id for job in taken if job is not None)
        price = next(job.price for job in taken if job is not None)
        assert max(got.values()) - min(got[guild] for guild in (7, 8, 9)) <= AT_ONCE
    # Each was charged for each of its jobs, and none for another's.
    finish = await scene.db.read(
        lambda connection: {row.guild_id: row.finish for row in connection.execute(sa.select(guilds))}
    )
    assert finish == {guild: got[guild] * price for guild in (7, 8, 9)}
    assert await scene.db.read(discrepancies) == []


async def test_a_member_who_may_have_so_many_running_is_claimed_with_locks(scene: Scene) -> None:
    policy = GuildPolicy(everybody=Limits(max_running=1))
    await scene.studio.policies.change(7, lambda before: policy, by=1, action="policy import")
    for _ in range(3):
        await scene.submit(Account(7, 1))
    limit = await scene.db.read(lambda connection: connection.execute(sa.select(members.c.most_running)).scalar_one())
    assert limit == 1
    taken = await asyncio.gather(*(scene.queue.claim(f"w{number}", [SCHNELL]) for number in range(AT_ONCE)))
    assert sum(job is not None for job in taken) == 1
    assert await scene.db.read(discrepancies) == []
