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

from flux_core.database import claims, leases, locks, warm
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.tables import guilds, jobs, members, virtual_time
from flux_core.jobs import Account
from flux_core.policy.guild import GuildPolicy, Limits
from tests.database import postgres
from tests.database.scene import DEV, SCHNELL, Scene, a_scene, pictures

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


async def test_a_claim_locks_its_guild_before_time_as_those_with_locks_do(scene: Scene) -> None:
    """In another order two claims would wait for one another until the server ends one of them, a second later."""
    for user in (1, 2):
        await scene.submit(Account(7, user))
    await scene.claim()  # from now on a claim moves the guilds' time on
    locked, waited_for, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @locks.beside_others
    def hold(connection: Connection) -> None:
        connection.execute(sa.select(guilds.c.guild_id).where(guilds.c.guild_id == 7).with_for_update())
        locked.set()
        await_only(waited_for.wait())
        connection.execute(sa.select(virtual_time.c.value).with_for_update(nowait=True))
        done.set()

    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%claim_%'")
    async with asyncio.TaskGroup() as group:
        group.create_task(scene.db.write(hold))
        await locked.wait()
        claiming = group.create_task(scene.queue.claim("other", [SCHNELL]))
        while not await scene.db.read(lambda connection: connection.execute(waiting).scalar_one()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the server tells nobody that somebody waits
        waited_for.set()
    assert done.is_set()
    assert claiming.result() is not None


async def test_nothing_that_runs_all_the_time_reads_the_line(scene: Scene) -> None:
    """The server plans these once for all parameters, so it must see how little of a long line they look at."""
    job = await scene.submit(Account(7, 1))
    await scene.db.write(wait_in_line, job.id, 5_000)

    def read_by(connection: Connection, query, *args) -> int:  # type: ignore[no-untyped-def]
        before = connection.execute(READ).scalar_one()  # of the connection's last transactions
        query(connection, *args)
        return int(connection.execute(READ).scalar_one() - before)

    now = scene.clock.now
    models = [SCHNELL, DEV]
    claimed = await scene.claim("w1")
    for number in range(2):  # once as the first of a prepared statement, and again
        worker = f"w{number}"
        assert await scene.db.write(read_by, claims.claim, worker, [SCHNELL], now, 30.0) < 100
        assert await scene.db.write(read_by, claims.claim, worker, models, now, 30.0) < 100
        assert await scene.db.write(read_by, warm.take, worker, models, {DEV}, now, 30.0) < 200
    assert await scene.db.write(read_by, leases.heartbeat, "w1", [claimed.id], now + 60) < 10
    drawn = leases.Drawn(provider="local", seconds=1.0)
    assert await scene.db.write(read_by, leases.succeed, "w1", claimed.id, pictures(claimed), drawn, now) < 10


READ = sa.text(
    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname = 'jobs'"
)
"""Jobs that a connection has read lately."""


def wait_in_line(connection: Connection, job_id: str, number: int) -> None:
    """Let many more jobs like this one wait in its guild."""
    names = [column.name for column in jobs.c]
    series = sa.func.generate_series(1, number, type_=sa.Integer).table_valued("number").render_derived("series")
    serial = sa.cast(series.c.number, sa.Integer)
    new = {
        "id": sa.func.lpad(sa.func.to_hex(serial), 24, "0"),
        "key": sa.null(),
        "start_tag": serial * 1000.0,
        "finish_tag": serial * 1000.0 + 1000.0,
    }
    like_it = sa.select(*(new.get(name, jobs.c[name]) for name in names)).select_from(jobs.join(series, sa.true()))
    like_it = like_it.where(jobs.c.id == job_id)
    connection.execute(sa.insert(jobs).from_select(names, like_it, include_defaults=False))
    connection.exec_driver_sql("ANALYZE jobs")


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
