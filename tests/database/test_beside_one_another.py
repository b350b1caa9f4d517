"""Many transactions at the same moment: on a server they really are, and the rules hold as though they were not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database import speeds
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.tables import guilds, jobs, ledger, virtual_time
from flux_core.errors import MemberError
from flux_core.jobs import Account, JobState, Origin
from flux_core.policy.guild import GuildPolicy, Limits
from flux_core.service import Submission
from tests.database.scene import DEV, SCHNELL, Scene, a_reply, a_request, a_scene

GUILD, MEMBERS, WORKERS, MOST = 7, 5, 6, 1


@pytest.fixture
async def scene(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A studio with as many connections as it can use."""
    async with a_scene(database_url, tmp_path, pool=WORKERS + MEMBERS, allowance=10**9, max_waiting=10**6) as scene:
        yield scene


async def decide(scene: Scene, **changes: object) -> None:
    """Set the guild's policy."""
    policy = GuildPolicy.model_validate(changes)
    await scene.studio.policies.change(GUILD, lambda before: policy, by=1, action="policy import")


async def submit(scene: Scene, account: Account, key: str | None = None) -> str:
    """Submit at once, without waiting for another millisecond."""
    request = a_request()
    submission = Submission(account=account, request=request, origin=Origin.IMAGINE, key=key)
    return (await scene.studio.submit(submission)).id


def running(connection: Connection) -> Counter[int]:
    """Count the running jobs of every member."""
    return Counter(connection.execute(sa.select(jobs.c.user_id).where(jobs.c.state == "running")).scalars())


async def test_no_member_has_more_running_than_they_may(scene: Scene) -> None:
    chance, done = random.Random(5), asyncio.Event()
    most: Counter[int] = Counter()

    async def order(user: int) -> None:
        for number in range(24):
            if number % 8 == 3 and user == 1:  # the rule comes and goes while they order
                await decide(scene, everybody=Limits(max_running=None if number % 16 == 3 else MOST).model_dump())
            await submit(scene, Account(GUILD, user))
            await asyncio.sleep(chance.uniform(0, 0.01))

    async def draw(worker: str) -> None:
        while True:
            job = await scene.queue.claim(worker, [SCHNELL])
            if job is None:
                if done.is_set():
                    return
                await asyncio.sleep(0.005)
                continue
            await scene.queue.progress(worker, job.id, 1, 4)
            await asyncio.sleep(chance.uniform(0, 0.005))
            if chance.random() < 0.1:
                await scene.queue.hand_back(worker, job.id)
            else:
                await scene.succeed(job, worker)

    async def watch() -> None:
        while not done.is_set():
            found = await scene.db.read(discrepancies)
            assert found == []
            for user, number in (await scene.db.read(running)).items():
                most[user] = max(most[user], number)

    await decide(scene, everybody=Limits(max_running=MOST).model_dump())
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        drawing = [group.create_task(draw(f"w{number}")) for number in range(WORKERS)]
        await asyncio.gather(*(order(user) for user in range(1, MEMBERS + 1)))
        done.set()
        await asyncio.gather(watching, *drawing)
    assert await scene.db.read(discrepancies) == []
    states = await scene.db.read(lambda connection: Counter(connection.execute(sa.select(jobs.c.state)).scalars()))
    assert states == {JobState.SUCCEEDED.value: 24 * MEMBERS}


async def test_a_limit_of_one_is_never_two(scene: Scene) -> None:
    await decide(scene, everybody=Limits(max_running=1).model_dump())
    for user in range(1, MEMBERS + 1):
        for _ in range(8):
            await submit(scene, Account(GUILD, user))
    left = 8 * MEMBERS
    while left:
        taken = await asyncio.gather(*(scene.queue.claim(f"w{number}", [SCHNELL]) for number in range(WORKERS)))
        found = [(f"w{number}", job) for number, job in enumerate(taken) if job is not None]
        assert max((await scene.db.read(running)).values()) == 1
        assert len(found) == min(WORKERS, len({job.account for _, job in found}))
        await asyncio.gather(*(scene.succeed(job, worker) for worker, job in found))
        left -= len(found)
    assert await scene.db.read(discrepancies) == []


async def test_claims_at_once_are_charged_one_after_the_other(scene: Scene) -> None:
    models = (SCHNELL, DEV)
    for number in range(24):
        await scene.submit(Account(GUILD, number), models[number % 2])
    # Workers with different models look at different jobs, and charge the same guild.
    claims = [scene.queue.claim(f"w{number}", [models[number % 2]]) for number in range(24)]
    taken = [job for job in await asyncio.gather(*claims) if job is not None]
    assert len({job.id for job in taken}) == 24
    prices = [job.price for job in taken]

    def turns(connection: Connection) -> tuple[float, float]:
        finish = connection.execute(sa.select(guilds.c.finish)).scalar_one()
        return finish, connection.execute(sa.select(virtual_time.c.value)).scalar_one()

    # The guild paid for each of its jobs, and time is where the last turn began that nobody else took one beside.
    finish, now = await scene.db.read(turns)
    assert finish == sum(prices)
    assert 0 < finish - now <= (WORKERS + MEMBERS) * max(prices)


async def test_credits_are_not_spent_twice(scene: Scene) -> None:
    await decide(scene, everybody=Limits(credits=5).model_dump())

    async def order() -> bool:
        try:
            await submit(scene, Account(GUILD, 1))
        except MemberError:
            return False
        return True

    assert Counter(await asyncio.gather(*(order() for _ in range(12)))) == {True: 5, False: 7}
    assert await scene.db.read(discrepancies) == []


async def test_a_pool_is_not_spent_twice(scene: Scene) -> None:
    await decide(scene, pool=7)

    async def order(user: int) -> bool:
        try:
            await submit(scene, Account(GUILD, user))
        except MemberError:
            return False
        return True

    assert Counter(await asyncio.gather(*(order(user) for user in range(12)))) == {True: 7, False: 5}
    assert await scene.db.read(discrepancies) == []


async def test_first_jobs_of_a_new_guild_and_the_same_submit_twice(scene: Scene) -> None:
    same = await asyncio.gather(*(submit(scene, Account(99, 1), key="once") for _ in range(8)))
    others = await asyncio.gather(*(submit(scene, Account(98, user)) for user in range(8)))
    assert len(set(same)) == 1
    assert len(set(others)) == 8

    def paid(connection: Connection) -> int:
        reserved = sa.select(sa.func.count()).select_from(ledger).where(ledger.c.kind == "reserve")
        return int(connection.execute(reserved).scalar_one())

    assert await scene.db.read(paid) == 9


async def test_an_answer_is_delivered_by_one_alone(scene: Scene) -> None:
    jobs_there = [await scene.submit(reply_to=a_reply()) for _ in range(5)]
    for job in jobs_there:
        claims = await asyncio.gather(
            *(scene.studio.claim_delivery(job.id, f"bot-{number}", seconds=60) for number in range(8))
        )
        assert Counter(claims) == {True: 1, False: 7}


async def test_measurements_at_once_all_count(scene: Scene) -> None:
    await asyncio.gather(*(scene.queue.record_speed("local", SCHNELL, 4.0, 2.0) for _ in range(12)))
    assert (await scene.db.read(speeds.known))["local", SCHNELL].samples == 12
