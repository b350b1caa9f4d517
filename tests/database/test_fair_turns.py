"""Whose turn it is, with the real queue: what a flooder can and cannot do to others."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux_core.database.members import put_limits
from flux_core.database.tables import guilds
from flux_core.jobs import Account
from flux_core.policy.guild import Limits
from tests.database.scene import ANNE, BERT, CLEO, DEV, SCHNELL, Scene, a_request, a_scene

RICH: dict[str, Any] = {"allowance": 10**12, "max_waiting": 1000}


async def test_a_flooder_delays_each_of_twenty_others_by_at_most_one_job(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, **RICH) as scene:
        for _ in range(100):
            await scene.submit(ANNE)
        drawn_before = [await scene.claim() for _ in range(5)]
        others = [Account(7, user) for user in range(100, 120)]
        for account in others:
            await scene.submit(account)
        turns = [(await scene.claim()).account for _ in range(21)]
        assert {job.account for job in drawn_before} == {ANNE}
        for account in others:
            assert turns[: turns.index(account)].count(ANNE) <= 1


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    weights=st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=4),
    counts=st.lists(st.integers(1, 4), min_size=4, max_size=4),
)
def test_shares_follow_weight_and_cost_whoever_waits(weights: list[float], counts: list[int]) -> None:
    async def shares() -> None:
        with TemporaryDirectory() as folder:
            async with a_scene(f"sqlite:///{folder}/a.db", Path(folder), **RICH) as scene:
                accounts = [Account(7, user) for user in range(len(weights))]
                for account, weight in zip(accounts, weights, strict=True):
                    await scene.db.write(put_limits, account, Limits(weight=weight))
                for account, count in zip(accounts, counts, strict=False):
                    for _ in range(20):
                        await scene.submit(account, count=count)
                spent: Counter[Account] = Counter()
                largest = max(counts) * 1000 / min(weights)
                for _ in range(20):
                    job = await scene.claim()
                    spent[job.account] += job.cost
                    # SFQ's bound: while both wait, two accounts' shares differ by at most one job of each.
                    served = [spent[account] / weight for account, weight in zip(accounts, weights, strict=True)]
                    assert max(served) - min(served) <= 2 * largest

    asyncio.run(shares())


async def test_cost_counts_rather_than_the_number_of_jobs(scene: Scene) -> None:
    for _ in range(5):
        await scene.submit(ANNE, count=4)
        await scene.submit(BERT, count=1)
    for _ in range(5):
        await scene.submit(BERT, count=1)
    turns = [(await scene.claim()).account for _ in range(10)]
    assert Counter(turns) == {ANNE: 2, BERT: 8} or Counter(turns) == {ANNE: 3, BERT: 7}


async def test_a_newcomer_starts_now_and_not_in_the_past(scene: Scene) -> None:
    for _ in range(4):
        await scene.submit(ANNE)
    for _ in range(3):
        await scene.claim()
    assert (await scene.submit(BERT)).start_tag == 2000.0
    assert [(await scene.claim()).account for _ in range(2)] == [BERT, ANNE]


async def test_an_idle_account_saves_up_no_turns(scene: Scene) -> None:
    await scene.submit(CLEO)
    await scene.claim()
    for _ in range(8):
        await scene.submit(ANNE)
    for _ in range(6):
        await scene.claim()
    later = await scene.submit(CLEO)
    assert later.start_tag >= 5000.0


async def test_cancelling_the_last_job_gives_its_turn_back(scene: Scene) -> None:
    first = await scene.submit(ANNE)
    second = await scene.submit(ANNE, count=4)
    await scene.studio.cancel(second.id, by=ANNE.user_id, moderator=False)
    third = await scene.submit(ANNE)
    assert (third.start_tag, third.finish_tag) == (first.finish_tag, first.finish_tag + 1000)


async def test_cancelling_moves_the_accounts_later_jobs_up(scene: Scene) -> None:
    jobs = [await scene.submit(ANNE, count=count) for count in (1, 4, 2)]
    other = await scene.submit(BERT, count=3)
    behind = await scene.submit(BERT)
    await scene.studio.cancel(jobs[1].id, by=ANNE.user_id, moderator=False)
    assert (await scene.studio.job(jobs[2].id)).start_tag == jobs[1].start_tag
    assert (await scene.submit(ANNE)).start_tag == 3000.0
    claimed = [(await scene.claim()).id for _ in range(4)]
    assert set(claimed[:2]) == {jobs[0].id, other.id}
    assert claimed[2:] == [jobs[2].id, behind.id] or claimed[2] == jobs[2].id


async def test_cancelling_all_is_as_if_nothing_had_been(scene: Scene) -> None:
    jobs = [await scene.submit(ANNE, count=count) for count in (3, 1, 2)]
    for number in (1, 0, 2):
        await scene.studio.cancel(jobs[number].id, by=ANNE.user_id, moderator=False)
    again = await scene.submit(ANNE)
    assert again.start_tag == 0.0
    assert (await scene.studio.quota(ANNE)).spent == again.cost


async def test_virtual_time_never_goes_back(scene: Scene) -> None:
    for _ in range(3):
        await scene.submit(ANNE)
    slow = await scene.submit(BERT, request=a_request(DEV, steps=4))
    for _ in range(3):
        await scene.claim("w1", SCHNELL)
    assert (await scene.claim("w2", DEV)).id == slow.id
    now = await scene.db.read(lambda connection: connection.execute(sa.select(guilds.c.fast)).scalar_one())
    assert now == 2000.0
